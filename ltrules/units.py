"""Durations and sizes: read them, and print them for people."""

from __future__ import annotations

import re
from fractions import Fraction

DURATIONS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBER = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-zµμ]*)")


def parse_duration(text: str) -> int:
    """Return a duration such as `1.5ms` in ns. Raises ValueError with the reason."""
    return _parse(text, DURATIONS, "5us", "ns us ms s m h")


def parse_size(text: str) -> int:
    """Return a size such as `4KiB` in bytes. Raises ValueError with the reason."""
    return _parse(text, SIZES, "4KiB", "B KiB MiB GiB")


def _parse(text: str, units: dict[str, int], example: str, known: str) -> int:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"write it as {example}")
    number, unit = match.groups()
    if unit not in units:
        raise ValueError(f"it needs a unit: {known}" if not unit else f"`{unit}` is not a unit: {known}")
    value = Fraction(number.replace("_", "")) * units[unit]
    if value.denominator != 1:
        raise ValueError(f"it is not a whole number of {'ns' if units is DURATIONS else 'bytes'}")
    if value >= 1 << 63:
        raise ValueError("it is too long" if units is DURATIONS else "it is too large")
    return int(value)


def format_duration(ns: int) -> str:
    """Return a duration in the unit that suits it, with three significant digits: `1.23ms`."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    for unit in ("s", "ms", "us"):
        # 999.5us would round to 1000us: the next unit begins where rounding reaches it.
        if ns * 2000 >= DURATIONS[unit] * 1999:
            value = ns / DURATIONS[unit]
            if unit == "s" and value >= 1000:
                return f"{sign}{value:.0f}s"
            return f"{sign}{_three_digits(value)}{unit}"
    return f"{sign}{ns}ns"


def format_size(count: int) -> str:
    """Return a size in the unit that suits it: `4KiB`, `1.5MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if abs(count) >= SIZES[unit]:
            return f"{_three_digits(count / SIZES[unit])}{unit}"
    return f"{count}B"


def _three_digits(value: float) -> str:
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
