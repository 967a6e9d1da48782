"""Symbol tables from print texts, and the arithmetic in them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrules.catalog.symbols import as_field_values, evaluate, symbol_tables


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0", 0),
        ("1 << 3", 8),
        ("(1UL)", 1),
        ("(((1)) << 2)", 4),
        ("0x0001 | 0x2", 3),
        ("017", 15),
        ("-1", -1),
        ("~0", -1),
        ("1 | 2 & 3 << 1", 3),
        ("10 - 3 - 2", 5),
        ("2 + 3 * 4", 14),
        ("( unsigned long)((( gfp_t)((((1UL))) << (5)))|(( gfp_t)((((1UL))) << (11))))", 0x820),
        ("(u32)~0x1", -2),
    ],
)
def test_plain_expressions(expression: str, value: int) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        *("", "TCP_LISTEN", "1 << BTRFS_ORDERED", "(FOO) - 1", "f(1)", "1 +", "(1", "1)", "1 2", "1 << 64", "1 << -1"),
        *("08", "1.5", "__import__('os')", "'a'", "9" * 5000, "(" * 5000 + "1" + ")" * 5000, "-" * 5000 + "1"),
    ],
)
def test_everything_else_is_left_out(expression: str) -> None:
    assert evaluate(expression) is None


expressions = st.recursive(
    st.integers(0, 255).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["|", "&", "^", "+", "-", "*"]), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"~({text})"),
    ),
    max_leaves=6,
)


@given(expressions)
def test_arithmetic_is_that_of_c(expression: str) -> None:
    # Python gives these operators the order that C does, and no value here comes near 64 bits.
    assert evaluate(expression) == eval(expression)


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    evaluate(text)
    symbol_tables(text)
    symbol_tables(f"__print_flags(REC->x, {text}")


def test_tables_of_both_kinds() -> None:
    text = (
        '"%s", __print_symbolic(REC->vec, { 0, "HI" }, { 1, "TIMER" }), '
        '__print_flags((unsigned long)REC->flags, "|", {0x1, "A"}, { 1 << 4, "B" }, { NOT_EXPANDED, "C" }, {2,"D"})'
    )
    assert symbol_tables(text) == {"vec": {0: "HI", 1: "TIMER"}, "flags": {1: "A", 16: "B", 2: "D"}}


def test_masked_flags_keep_their_meaning_and_other_expressions_have_none() -> None:
    text = (
        '__print_flags(REC->state & (((1 | 2) + 1) << 1), "|", { 1, "S" }) '
        '__print_symbolic(REC->low & 0xf, { 1, "X" }) __print_symbolic((REC->high >> 8 & 0x7), { 1, "Y" }) '
        '__print_flags((1 << REC->bit), "|", { 1, "Z" })'
    )
    assert symbol_tables(text) == {"state": {1: "S"}}


def test_the_first_name_of_a_value_stays() -> None:
    assert symbol_tables('__print_symbolic(REC->x, { 1, "A" }, { 1, "B" })') == {"x": {1: "A"}}


def test_values_are_those_that_the_field_reads() -> None:
    table = {-1: "ALL", 3: "THREE", 1 << 40: "FAR"}
    assert as_field_values(table, 4, signed=False) == {0xFFFFFFFF: "ALL", 3: "THREE"}
    assert as_field_values(table, 4, signed=True) == {-1: "ALL", 3: "THREE"}
    assert as_field_values({0xFFFFFFFF: "ALL"}, 4, signed=True) == {-1: "ALL"}


def test_long_damaged_texts_take_no_long_time() -> None:
    start = time.monotonic()
    for text in (
        "__print_flags(" * 20_000,
        "__print_flags(" + "(" * 200_000,
        '__print_flags(REC->x, "|", {' + ", " * 100_000,
    ):
        assert symbol_tables(text) == {}
    assert time.monotonic() - start < 10
