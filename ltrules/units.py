"""Durations and sizes as people write them, to whole ns and bytes and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

#: ns in each unit of time; both code points for the Greek letter are in use.
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
#: Bytes in each unit of size.
SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

#: What values are printed in: unit, its size, and that of the next larger one, 0 if there is none.
_DURATION_SCALES = tuple(
    (unit, DURATIONS[unit], DURATIONS.get(following, 0))
    for unit, following in pairwise(["ns", "us", "ms", "s", "m", "h", ""])
)
_SIZE_SCALES = tuple((unit, SIZES[unit], SIZES.get(following, 0)) for unit, following in pairwise([*SIZES, ""]))

_QUANTITY = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)([^\W\d_]+)")
_LARGEST = (1 << 63) - 1
#: More digits than any number of 63 bits needs, and few enough that Decimal computes exactly.
_MOST_DIGITS = 24


def parse_duration(text: str) -> int:
    """Return a duration such as `1.5ms` in ns. Raises ValueError, with a sentence, if it is none or not whole ns."""
    return _parse(text, DURATIONS, "a duration", "ns us ms s m h", "nanosecond")


def parse_size(text: str) -> int:
    """Return a size such as `64KiB` in bytes. Raises ValueError, with a sentence, if it is none or not whole bytes."""
    return _parse(text, SIZES, "a size", "B KiB MiB GiB", "byte")


def format_duration(ns: int) -> str:
    """Return a duration of `ns` with three significant digits, such as `1.23ms`."""
    return _format(ns, _DURATION_SCALES)


def exact_duration(ns: int) -> str:
    """Return a duration of `ns` in the largest unit up to seconds that it reaches, without rounding: `1.234567ms`."""
    sign, value = ("-", -ns) if ns < 0 else ("", ns)
    unit = next((unit for unit in ("s", "ms", "us") if value >= DURATIONS[unit]), "ns")
    number = f"{Decimal(value) / DURATIONS[unit]:f}"
    return f"{sign}{number}{unit}"


def format_size(size: int) -> str:
    """Return a size of `size` bytes with three or four significant digits, such as `1.5MiB`."""
    return _format(size, _SIZE_SCALES)


def _parse(text: str, units: dict[str, int], what: str, known: str, smallest: str) -> int:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{what} is a number and a unit ({known})")
    number, unit = found[1].replace("_", ""), found[2]
    if unit not in units:
        raise ValueError(f"`{unit}` is not a unit ({known})")
    if len(number) > _MOST_DIGITS:
        raise ValueError(f"{what} has at most {_MOST_DIGITS} digits")
    value = Decimal(number) * units[unit]
    if value > _LARGEST:
        raise ValueError(f"`{text}` is too large: {what} has 63 bits")
    if value != int(value):
        raise ValueError(f"`{text}` is not a whole number of {smallest}s")
    return int(value)


def _format(value: int, scales: Sequence[tuple[str, int, int]]) -> str:
    sign, value = ("-", -value) if value < 0 else ("", value)
    for unit, scale, following in scales:  # noqa: B007 - used below
        if following and value >= following:
            continue
        places = 2 if value < 10 * scale else 1 if value < 100 * scale else 0
        shift = 10**places
        rounded, rest = divmod(value * shift, scale)
        rounded += 2 * rest + (rounded & 1) > scale  # what lies in the middle goes to the even neighbour
        # What rounds up to the next unit is shown in that unit.
        if not following or rounded * scale < following * shift:
            break
    whole, fraction = divmod(rounded, shift)
    return f"{sign}{whole}.{fraction:0{places}}".rstrip("0") + unit if fraction else f"{sign}{whole}{unit}"
