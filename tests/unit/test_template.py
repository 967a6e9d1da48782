"""Messages split into what is said and what is filled in; strings get their value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrules.source import Source, Span
from ltrules.syntax import Text
from ltrules.template import ESCAPES, split_message, unescape

_ESCAPED = {value: f"\\{letter}" for letter, value in ESCAPES.items()} | {"{": "{{", "}": "}}"}


def written(text: str) -> str:
    """Return how a text is written in a message."""
    return "".join(_ESCAPED.get(char, char) for char in text)


def split(inside: str) -> list[str | tuple[int, str]]:
    """Split a message that stands somewhere in a file; an expression is its offset in the message, and its text."""
    source = Source("t.lt", f'# "\nmessage "{inside}" # "')
    start = source.text.index(f'"{inside}"', 4)
    parts = split_message(Text(Span(source, start, start + len(inside) + 2), ""))
    return [part if isinstance(part, str) else (part.start - start - 1, part.text) for part in parts]


@pytest.mark.parametrize(
    ("raw", "value"), [("", ""), ("a", "a"), (r"\n\t\r\"\\", '\n\t\r"\\'), (r"\\n", r"\n"), ("é\u3000", "é\u3000")]
)
def test_escapes(raw: str, value: str) -> None:
    assert unescape(raw) == value


def test_an_unknown_escape_is_told() -> None:
    with pytest.raises(KeyError, match="q"):
        unescape(r"a\q")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        ("{key}", [(1, "key")]),
        ("{a}{b}", [(1, "a"), (4, "b")]),
        ("{a + b} of {f(c, 1)}.", [(1, "a + b"), " of ", (12, "f(c, 1)"), "."]),
        ("{{{a}}}", ["{", (3, "a"), "}"]),
        ("{{a}}", ["{a}"]),
        (r"\"{a}\\", ['"', (3, "a"), "\\"]),
        ("100}", ["100}"]),
        ("{}", [(1, "")]),
        ("a {b", ["a ", (2, "{b")]),
    ],
)
def test_messages(message: str, parts: list[str | tuple[int, str]]) -> None:
    assert split(message) == parts


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_can_be_said(text: str) -> None:
    assert split(written(text)) == ([text] if text else [])


@given(st.lists(st.tuples(st.text('ab {}\\"\n', min_size=1, max_size=5), st.sampled_from(["key", "in.x + 1", "f(a)"]))))
def test_texts_and_expressions_alternate(pairs: list[tuple[str, str]]) -> None:
    found = split("".join(f"{written(text)}{{{expr}}}" for text, expr in pairs))
    assert [part if isinstance(part, str) else part[1] for part in found] == [p for pair in pairs for p in pair]
