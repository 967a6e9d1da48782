"""Sources know places in their text, and rule files that cannot be rule files are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ltrules.errors import InputError
from ltrules.source import LARGEST_FILE, Source, Span, decode_source, read_source


def test_positions_count_from_one_in_code_points() -> None:
    source = Source("t", "é\nab\n")
    assert [source.position(i) for i in (0, 1, 2, 4, 5)] == [(1, 1), (1, 2), (2, 1), (2, 3), (3, 1)]
    assert [source.line(i) for i in (1, 2, 3)] == ["é", "ab", ""]


def test_a_span_knows_its_text_and_place() -> None:
    span = Span(Source("t", "ab\ncd ef"), 3, 5)
    assert (span.text, str(span), span.to(Span(span.source, 6, 8)).text) == ("cd", "t:2:1", "cd ef")


def test_a_file_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.lt"
    path.write_bytes(b"\xef\xbb\xbfin a # \xc3\xa9")
    assert read_source(path) == Source(str(path), "in a # é")


def test_text_that_is_not_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.lt"
    path.write_bytes(b"in a\n\xff")
    with pytest.raises(InputError, match=r"byte 5, on line 2"):
        read_source(path)


@pytest.mark.parametrize("name", [".", "none.lt", "none\0.lt"])
def test_what_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_source(tmp_path / name)


def test_the_largest_file_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.lt"
    path.write_bytes(b" " * LARGEST_FILE)
    assert len(read_source(path).text) == LARGEST_FILE
    path.write_bytes(b" " * (LARGEST_FILE + 1))
    with pytest.raises(InputError, match="1 MiB"):
        read_source(path)


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="1 MiB"):
        read_source(Path(os.devnull).with_name("zero"))


def test_bytes_from_elsewhere_are_judged_alike() -> None:
    assert decode_source("<stdin>", b"\xef\xbb\xbfin a") == Source("<stdin>", "in a")
    with pytest.raises(InputError, match=r"^<stdin> is not UTF-8 text: byte 0, on line 1"):
        decode_source("<stdin>", b"\xff")
    with pytest.raises(InputError, match=r"^<stdin> is larger than"):
        decode_source("<stdin>", b" " * (LARGEST_FILE + 1))


@pytest.mark.parametrize("text", ["", "x", "\n", "a\r\nb\r\n", "é\n\n日本"])
def test_every_offset_has_a_line_and_a_column(text: str) -> None:
    source = Source("t", text)
    for offset in range(len(text) + 1):
        line, column = source.position(offset)
        assert line == text.count("\n", 0, offset) + 1
        assert 1 <= column <= len(source.line(line)) + 1
        assert source.line(line) == text.split("\n")[line - 1]
