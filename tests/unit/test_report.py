"""Diagnostics as text for people, for editors, for programs and for GitHub."""

from __future__ import annotations

import json
from typing import Any

import pytest

import ltrules
from ltrules.diagnostics import Diagnostic, Edit, Fix, Severity, replace
from ltrules.report import FORMATS, apply_fixes, as_json, render
from ltrules.source import Source, Span

TEXT = """rule io {
  in   block_rq_issue key (dev, secter)
  out  block_rq_complete key dev
}
"""
SOURCE = Source("rules/block.lt", TEXT)


def span(text: str, source: Source = SOURCE) -> Span:
    """Return the place of the first occurrence of a text."""
    start = source.text.index(text)
    return Span(source, start, start + len(text))


def diagnostic(place: Span, **more: Any) -> Diagnostic:
    return Diagnostic("LT202", "unknown-field", "there is no field `secter`", place, **more)


def full(found: Diagnostic) -> list[str]:
    return render([found]).splitlines()


# ----------------------------------------------------------------------------- for people
def test_label_notes_help_and_fix() -> None:
    place = span("secter")
    found = diagnostic(
        place,
        label="did you mean `sector`?",
        notes=("its fields: dev, sector",),
        helps=("see `ltrules events`",),
        fixes=(replace(place, "sector"),),
    )
    assert render([found]) == (
        "error[LT202]: there is no field `secter`\n"
        " --> rules/block.lt:2:33\n"
        "  |\n"
        "2 |   in   block_rq_issue key (dev, secter)\n"
        "  |                                 ^^^^^^ did you mean `sector`?\n"
        "  |\n"
        "  = note: its fields: dev, sector\n"
        "  = help: see `ltrules events`\n"
        "fix (safe): Change `secter` to `sector`\n"
        "2 -   in   block_rq_issue key (dev, secter)\n"
        "2 +   in   block_rq_issue key (dev, sector)\n"
    )


def test_both_ends_of_a_disagreement_are_marked() -> None:
    found = diagnostic(
        span("key dev\n"),
        label="one part",
        severity=Severity.WARNING,
        related=((span("key (dev, secter)"), "two parts"),),
    )
    assert full(found) == [
        "warning[LT202]: there is no field `secter`",
        " --> rules/block.lt:3:26",
        "  |",
        "2 |   in   block_rq_issue key (dev, secter)",
        "  |                       ----------------- two parts",
        "3 |   out  block_rq_complete key dev",
        "  |                          ^^^^^^^ one part",
        "  |",
    ]


def test_marks_on_one_line_stand_below_each_other() -> None:
    found = diagnostic(span("secter"), label="here", related=((span("dev"), "and here"),), severity=Severity.HINT)
    assert full(found) == [
        "hint[LT202]: there is no field `secter`",
        " --> rules/block.lt:2:33",
        "  |",
        "2 |   in   block_rq_issue key (dev, secter)",
        "  |                                 ^^^^^^ here",
        "  |                            --- and here",
        "  |",
    ]


def test_lines_between_are_left_out_and_numbers_are_aligned() -> None:
    source = Source("t.lt", "const A = 1\n" + "\n" * 10 + "const A = 2\n")
    second = Span(source, source.text.rindex("A"), source.text.rindex("A") + 1)
    found = diagnostic(second, related=((span("A", source), "first"),))
    assert full(found) == [
        "error[LT202]: there is no field `secter`",
        "  --> t.lt:12:7",
        "   |",
        " 1 | const A = 1",
        "   |       - first",
        "...",
        "12 | const A = 2",
        "   |       ^",
        "   |",
    ]


def test_another_file_gets_a_snippet_of_its_own() -> None:
    other = Source("lib/x.lt", "\nconst B = 2")
    found = diagnostic(span("dev"), label="here", related=((span("B", other), "defined here"),))
    assert full(found)[1:] == [
        " --> rules/block.lt:2:28",
        "  |",
        "2 |   in   block_rq_issue key (dev, secter)",
        "  |                            ^^^ here",
        "  |",
        " --> lib/x.lt:2:7",
        "  |",
        "2 | const B = 2",
        "  |       - defined here",
        "  |",
    ]


@pytest.mark.parametrize(
    ("line", "word", "shown", "mark"),
    [
        ("\tin\te key x", "e", " in e key x", "    ^"),
        ("x 日本 é e\u0301 key", "key", "x 日本 é e\u0301 key", "           ^^^"),
        ("日本 x", "日本", "日本 x", "^^^^"),
        ("\x1b[31m bad", "bad", "\\x1b[31m bad", "         ^^^"),
        ("a \u202eb", "\u202e", "a \\x202eb", "  ^^^^^^"),
        ("in a \r", "a", "in a", "   ^"),
    ],
)
def test_marks_stand_under_what_a_terminal_shows(line: str, word: str, shown: str, mark: str) -> None:
    source = Source("t.lt", f"#\n{line}\n#")
    assert full(diagnostic(span(word, source)))[3:5] == [f"2 | {shown}", f"  | {mark}"]


def test_nothing_at_the_end_of_the_text_is_marked() -> None:
    source = Source("t.lt", "in a key")
    assert full(diagnostic(Span(source, 8, 8), label="a value"))[3:5] == ["1 | in a key", "  |         ^ a value"]
    assert full(diagnostic(Span(Source("t", ""), 0, 0)))[3:5] == ["1 |", "  | ^"]
    assert full(diagnostic(Span(Source("t", "x\n"), 2, 2)))[3:5] == ["2 |", "  | ^"]


def test_a_span_of_many_lines_is_marked_to_the_end_of_the_first() -> None:
    assert full(diagnostic(Span(SOURCE, 8, len(TEXT))))[3:5] == ["1 | rule io {", "  |         ^"]


def test_long_lines_are_cut_around_the_mark() -> None:
    source = Source("t.lt", "a" * 1000 + " bad " + "c" * 1000)
    shown, mark = full(diagnostic(span("bad", source)))[3:5]
    assert len(shown) == len("1 | ") + 160
    assert shown[mark.index("^") : mark.rindex("^") + 1] == "bad"
    head = Source("t.lt", "bad " + "c" * 1000)
    assert full(diagnostic(span("bad", head)))[4] == "  | ^^^"
    tail = Source("t.lt", "c" * 1000 + " bad")
    shown, mark = full(diagnostic(span("bad", tail)))[3:5]
    assert shown[mark.index("^") :] == "bad"


def test_an_unsafe_fix_of_several_lines() -> None:
    fix = Fix("Use one key", (Edit(span("(dev, secter)"), "dev"), Edit(span("out "), "out")), safe=False)
    assert full(diagnostic(span("secter"), fixes=(fix,)))[-5:] == [
        "fix (unsafe): Use one key",
        "2 -   in   block_rq_issue key (dev, secter)",
        "2 +   in   block_rq_issue key dev",
        "3 -   out  block_rq_complete key dev",
        "3 +   out block_rq_complete key dev",
    ]


def test_a_fix_shows_the_change_of_a_long_line() -> None:
    source = Source("t.lt", "a" * 1000 + " bad")
    lines = full(diagnostic(span("bad", source), fixes=(replace(span("bad", source), "good"),)))
    assert "bad" in lines[-2] and "good" in lines[-1]


def test_a_fix_that_adds_a_line_shows_it() -> None:
    place = span("  out")
    fix = Fix("Add it", (Edit(Span(SOURCE, place.start, place.start), "  thresh 1ms\n"),))
    lines = full(diagnostic(place, fixes=(fix,)))
    assert "3 +   thresh 1ms" in lines


def test_messages_cannot_play_tricks() -> None:
    source = Source("\x1b[2J.lt", "x")
    found = Diagnostic("LT1", "n", "bad \x1b[31m\nthing", Span(source, 0, 1), "la\x07bel", notes=("\x00",))
    for form in ("full", "concise", "github"):
        assert "\x1b" not in render([found], form)
        assert "\x07" not in render([found], form)
    assert "bad \\x1b[31m thing" in render([found])


def test_colour_only_when_asked() -> None:
    found = diagnostic(
        span("secter"), label="here", related=((span("dev"), "there"),), fixes=(replace(span("secter"), "sector"),)
    )
    plain, painted = render([found]), render([found], color=True)
    assert "\x1b" not in plain
    assert "\x1b[31merror[LT202]\x1b[0m" in painted
    for code in ("31", "32", "34", "1"):
        assert f"\x1b[{code}m" in painted
    for code in ("31", "32", "34", "1", "0"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == plain


# ----------------------------------------------------------------------------- other formats
def test_order_is_by_file_place_and_code() -> None:
    one = Source("a.lt", "x\ny")
    found = [
        Diagnostic("LT2", "n", "m", span("in")),
        Diagnostic("LT9", "n", "m", Span(one, 2, 3)),
        Diagnostic("LT1", "n", "m", Span(one, 2, 3)),
        Diagnostic("LT3", "n", "m", Span(one, 0, 1)),
    ]
    wanted = ["LT3", "LT1", "LT9", "LT2"]
    assert [line.split()[2] for line in render(found, "concise").splitlines()] == wanted
    assert [d["code"] for d in json.loads(render(found, "json"))["diagnostics"]] == wanted
    assert [line.split("[")[1][:3] for line in render(found).splitlines() if line.startswith("error")] == wanted


def test_full_reports_are_parted_by_an_empty_line() -> None:
    found = diagnostic(span("dev"))
    assert render([found, found]) == render([found]) + "\n" + render([found])


def test_concise() -> None:
    found = diagnostic(span("secter"), label="did you mean `sector`?", notes=("left out",))
    assert render([found], "concise") == (
        "rules/block.lt:2:33: error LT202 unknown-field: there is no field `secter` (did you mean `sector`?)\n"
    )


def test_json_holds_everything() -> None:
    place = span("secter")
    found = diagnostic(
        place, label="l", related=((span("dev"), "r"),), notes=("n",), helps=("h",), fixes=(replace(place, "sector"),)
    )
    warning = Diagnostic("LT206", "shadowing", "é", span("io"), severity=Severity.WARNING)
    text = render([found, warning], "json")
    assert "é" in text
    assert json.loads(text) == {
        "version": 1,
        "ltrules": ltrules.__version__,
        "diagnostics": [
            {
                "code": "LT206", "name": "shadowing", "severity": "warning", "message": "é", "file": "rules/block.lt",
                "range": {
                    "start": {"line": 1, "column": 6, "offset": 5}, "end": {"line": 1, "column": 8, "offset": 7},
                },
                "label": "", "related": [], "notes": [], "help": [], "fixes": [],
            },
            {
                "code": "LT202", "name": "unknown-field", "severity": "error",
                "message": "there is no field `secter`", "file": "rules/block.lt",
                "range": {
                    "start": {"line": 2, "column": 33, "offset": 42}, "end": {"line": 2, "column": 39, "offset": 48},
                },
                "label": "l",
                "related": [
                    {
                        "file": "rules/block.lt", "label": "r",
                        "range": {
                            "start": {"line": 2, "column": 28, "offset": 37},
                            "end": {"line": 2, "column": 31, "offset": 40},
                        },
                    }
                ],
                "notes": ["n"], "help": ["h"],
                "fixes": [
                    {
                        "applicability": "safe", "message": "Change `secter` to `sector`",
                        "edits": [{"file": "rules/block.lt", "start": 42, "end": 48, "text": "sector"}],
                    }
                ],
            },
        ],
        "summary": {"files": 1, "errors": 1, "warnings": 1, "fixable": 1},
    }  # fmt: skip


def test_github() -> None:
    source = Source("a,b:c.lt", "in x\n")
    found = Diagnostic("LT1", "n", "50% of\nit", Span(source, 3, 4), "here", Severity.WARNING)
    assert render([found], "github") == (
        "::warning title=ltrules (LT1),file=a%2Cb%3Ac.lt,line=1,col=4,endLine=1,endColumn=5"
        "::a,b:c.lt:1:4: LT1 50%25 of it (here)\n"
    )


def test_nothing_to_report() -> None:
    assert [render([], form) for form in FORMATS if form != "json"] == ["", "", ""]
    assert as_json([])["diagnostics"] == []
    assert json.loads(render([], "json"))["summary"] == {"files": 0, "errors": 0, "warnings": 0, "fixable": 0}


# -------------------------------------------------------------------------------------- fixes
def test_fixes_are_applied_from_the_first_place_on() -> None:
    fixes = [replace(span("secter"), "sector"), replace(span("io"), "disks"), Fix("none", ())]
    assert apply_fixes(SOURCE, fixes) == TEXT.replace("secter", "sector").replace("io", "disks", 1)
    assert apply_fixes(SOURCE, []) == TEXT


def test_fixes_of_other_files_are_left_alone() -> None:
    other = Source("other.lt", TEXT)
    assert apply_fixes(SOURCE, [replace(span("io", other), "x")]) == TEXT


def test_overlapping_fixes_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        apply_fixes(SOURCE, [replace(span("(dev, secter)"), "x"), replace(span("dev"), "y")])
