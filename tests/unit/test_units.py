"""Durations and sizes are exact to read and short to print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrules.units import DURATIONS, SIZES, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0ns", 0),
        ("5us", 5_000),
        ("5µs", 5_000),
        ("5μs", 5_000),
        ("1.5ms", 1_500_000),
        ("0.000000001s", 1),
        ("1_000us", 1_000_000),
        ("1m", 60 * 10**9),
        ("2h", 7200 * 10**9),
        ("9223372036854775807ns", 2**63 - 1),
    ],
)
def test_durations_are_read_exactly(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(("text", "size"), [("0B", 0), ("4KiB", 4096), ("1.5MiB", 3 << 19), ("1GiB", 1 << 30)])
def test_sizes_are_read_exactly(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "5", "us", "5 us", "5usec", "5US", "-5us", "0.5ns", "1e3s", "9223372036854775808ns", "1" * 5000 + "s", "٣s"],
)
def test_what_is_no_duration_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|unit|nanoseconds"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0ns"),
        (1, "1ns"),
        (999, "999ns"),
        (1_000, "1us"),
        (1_234, "1.23us"),
        (12_345, "12.3us"),
        (123_456, "123us"),
        (999_499, "999us"),
        (999_500, "1ms"),
        (1_234_567, "1.23ms"),
        (59_900_000_000, "59.9s"),
        (59_960_000_000, "1m"),
        (90_000_000_000, "1.5m"),
        (5_400_000_000_000, "1.5h"),
        (-1_500, "-1.5us"),
    ],
)
def test_durations_are_printed_with_three_digits(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), ((1 << 20) - 1, "1MiB"), (-2048, "-2KiB")],
)
def test_sizes_are_printed_short(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 2**62))
def test_a_printed_duration_reads_back_within_its_digits(ns: int) -> None:
    assert abs(parse_duration(format_duration(ns)) - ns) <= ns / 100


@given(st.integers(0, 2**63 - 1))
def test_whole_numbers_of_the_smallest_unit_are_exact(value: int) -> None:
    assert parse_duration(f"{value}ns") == value
    assert parse_size(f"{value:_}B") == value


@given(st.integers(0, 10**6), st.sampled_from(["us", "ms", "s", "m", "h"]))
def test_thousandths_of_a_unit_are_exact(thousandths: int, unit: str) -> None:
    text = f"{thousandths // 1000}.{thousandths % 1000:03}{unit}"
    assert parse_duration(text) == thousandths * DURATIONS[unit] // 1000


@given(st.integers(-(2**63), 2**63))
def test_anything_is_printed_in_few_letters(value: int) -> None:
    for text, units in ((format_duration(value), DURATIONS), (format_size(value), SIZES)):
        unit = text.lstrip("-0123456789.")
        assert unit in units
        assert text.startswith("-") is (value < 0)
        digits = text.removesuffix(unit).lstrip("-").replace(".", "")
        assert len(digits) <= 4 or unit in ("h", "GiB")


@pytest.mark.parametrize(
    ("ns", "text"),
    [(999_994, "1ms"), (9_994, "9.99us"), (9_995, "10us"), (99_949, "99.9us"), (10**18, "277778h"), (-999_999, "-1ms")],
)
def test_rounding_at_the_edges(ns: int, text: str) -> None:
    assert format_duration(ns) == text
