"""Slips in the text: each has its code, its place, a sentence, and where there is a remedy, a fix that works."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ltrules import syntax
from ltrules.diagnostics import Diagnostic
from ltrules.parse import parse, parse_expression
from ltrules.report import apply_fixes
from ltrules.source import Source


@pytest.fixture(autouse=True, scope="module")
def no_cache() -> Iterator[None]:
    """Let every text be parsed: nothing can be kept below a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
        yield


def mistakes(text: str) -> tuple[Diagnostic, ...]:
    return parse(Source("t.lt", text))[1]


def mistake(text: str) -> Diagnostic:
    (found,) = mistakes(text)
    return found


def mark(text: str) -> tuple[str, int, int]:
    """Return a text without its marks `«` and `»`, and where they stood."""
    start = text.index("«")
    end = text.index("»") - 1
    return text.replace("«", "").replace("»", ""), start, end


SLIPS = [
    # LT101: anything else
    ("«foo»", "LT101", "unexpected `foo`", "expected a rule", None),
    ("in«»", "LT101", "the text ends too early", "expected an event", None),
    ("in a key x, out b, thresh«»  # end\n", "LT101", "the text ends too early", "expected a value", None),
    ("const «=» 5", "LT101", "unexpected `=`", "expected a name", None),
    ("const A «5»", "LT101", "unexpected `5`", "expected `=`", None),
    ("import «x»", "LT101", "unexpected `x`", "expected a string", None),
    ("param a: «time» = 5ms", "LT101", "unexpected `time`", "expected a type", None),
    ("macro f «=» 5", "LT101", "unexpected `=`", "expected `(`", None),
    ("rule «{» in a key x }", "LT101", "unexpected `{`", "expected a name", None),
    ("rule «5x» { in a key x }", "LT101", "unexpected `5x`", "expected a name", None),
    ("rule a { in b key x } «}»", "LT101", "unexpected `}`", "expected a rule", None),
    ("in a key x,«,» out b", "LT101", "unexpected `,`", "expected a clause", None),
    ("in a key x «pid», out b", "LT101", "unexpected `pid`", "expected a modifier such as `key`, or `,` and a clause", None),
    ("in a key x where y one «[»1], out b", "LT101", "unexpected `[`", "expected `of`", None),
    ("in a key x where c == «'»y'", "LT101", "unexpected `'`", "expected a value", None),
    ("in a key x, out b, rate 5 «1s»", "LT101", "unexpected `1s`", "", None),
    ("in a key x, message «latency»", "LT101", "unexpected `latency`", "expected a string", None),
    (f"in a key x, message «{'y' * 30}»", "LT101", f"unexpected `{'y' * 17}...`", "expected a string", None),
    (
        "in a key x «out» b key x", "LT101", "there is no comma before `out`",
        "outside of a block, commas join the clauses of a rule", "in a key x, out b key x",
    ),
    (
        "in a key x\n  # why\n  «thresh» 5us", "LT101", "there is no comma before `thresh`",
        "outside of a block, commas join the clauses of a rule", "in a key x,\n  # why\n  thresh 5us",
    ),
    # LT102: a bare list of keys
    (
        "in a key «dev, sector», out b", "LT102", "a compound key needs parentheses",
        "several key fields, written as a bare list", "in a key (dev, sector), out b",
    ),
    (
        "rule r { in a key «cpu.id, x, y» out b }", "LT102", "a compound key needs parentheses",
        "several key fields, written as a bare list", "rule r { in a key (cpu.id, x, y) out b }",
    ),
    # LT103: units
    (
        "in a key x, thresh «5 us»", "LT103", "`5 us` is two words",
        "number and unit are written together", "in a key x, thresh 5us",
    ),
    (
        "in a key x, thresh «5 seconds»", "LT103", "`5 seconds` is two words",
        "number and unit are written together", "in a key x, thresh 5s",
    ),
    (
        "in a key x, thresh 5«usec»", "LT103", "`usec` is not a unit",
        "units are ns us ms s m h, and B KiB MiB GiB", "in a key x, thresh 5us",
    ),
    (
        "in a key x, thresh 1.5«MS»", "LT103", "`MS` is not a unit",
        "units are ns us ms s m h, and B KiB MiB GiB", "in a key x, thresh 1.5ms",
    ),
    (
        "in a key x, inflight 4«kib»", "LT103", "`kib` is not a unit",
        "units are ns us ms s m h, and B KiB MiB GiB", "in a key x, inflight 4KiB",
    ),
    ("in a key x, thresh 5«d»", "LT103", "`d` is not a unit", "units are ns us ms s m h, and B KiB MiB GiB", None),
    ("in a key x, thresh «1.5»", "LT103", "`1.5` needs a unit", "only durations have fractions", None),
    # LT104: words for clauses
    ("in a key x, «threshold» 5us", "LT104", "there is no clause `threshold`", "did you mean `thresh`?", "in a key x, thresh 5us"),
    ("in a key x, «timeuot» 5us", "LT104", "there is no clause `timeuot`", "did you mean `timeout`?", "in a key x, timeout 5us"),
    (
        "rule r { in a key x «filter» y > 1 out b }", "LT104", "there is no clause `filter`",
        "did you mean `where`?", "rule r { in a key x where y > 1 out b }",
    ),
    ("in a «kye» x, out b", "LT104", "there is no clause `kye`", "did you mean `key`?", "in a key x, out b"),
    ("«rul» r { in a key x }", "LT104", "there is no clause `rul`", "did you mean `rule`?", "rule r { in a key x }"),
    # LT105: membership
    (
        "in a key x where p «in» (1, 2), out b", "LT105", "`in` opens a rule; it does not test membership",
        "reads as the start of another rule", "in a key x where p one of [1, 2], out b",
    ),
    (
        "rule r { in a key x out b where p «in» [1] and q }", "LT105", "`in` opens a rule; it does not test membership",
        "reads as the start of another rule", "rule r { in a key x out b where p one of [1] and q }",
    ),
    (
        "rule r { in a key x out b when p «in» {1, 2} }", "LT105", "`in` opens a rule; it does not test membership",
        "reads as the start of another rule", "rule r { in a key x out b when p one of [1, 2] }",
    ),
    # LT106 to LT108
    ("in a key rq«->»id, out b", "LT106", "pointers are followed with `.`", "", "in a key rq.id, out b"),
    ("in a key x where y «=» 5, out b", "LT107", "`=` gives a name; compare with `==`", "", "in a key x where y == 5, out b"),
    ("in a key x where y «===» 5, out b", "LT107", "`=` gives a name; compare with `==`", "", "in a key x where y == 5, out b"),
    ("in a key x where y «= =» 5, out b", "LT107", "`=` gives a name; compare with `==`", "", "in a key x where y == 5, out b"),
    ("in a key x, «for» y", "LT108", "rules hold clauses, not code", "not part of the language", None),
    ("rule r { in a key x «while» (1) {} }", "LT108", "rules hold clauses, not code", "not part of the language", None),
    ("rule r { in a key x «if» (y) { print } }", "LT108", "rules hold clauses, not code", "not part of the language", None),
    ("rule r { in a key x «@»t[pid] = 1 }", "LT108", "rules hold clauses, not code", "not part of the language", None),
    # LT109: what is not closed
    ("rule r «{» in a key x", "LT109", "`{` opened at line 1 is not closed", "opened here", None),
    ("\n\nin a key «(»x, y", "LT109", "`(` opened at line 3 is not closed", "opened here", None),
    ("in a key «(»x, y, out b key z", "LT109", "`(` opened at line 1 is not closed", "opened here", None),
    ("const A = «[»1, 2\nconst B = 3", "LT109", "`[` opened at line 1 is not closed", "opened here", None),
    ('in a key x, message «"»abc', "LT109", "this string is not closed", "it begins here", None),
    ('in a key x where y == «"»\n", out b', "LT109", "this string is not closed", "it begins here", None),
    ('rule r { «"""» doc in a key x }', "LT109", "this doc string is not closed", "it begins here", None),
    # LT110: reserved words
    (
        "in a key x where «timeout» > 5, out b", "LT110", "`timeout` is a word of the language",
        "a field of this name is written `ev.timeout`", "in a key x where ev.timeout > 5, out b",
    ),
    (
        "in a key (x, «step»), out b", "LT110", "`step` is a word of the language",
        "a field of this name is written `ev.step`", "in a key (x, ev.step), out b",
    ),
    (
        "in a key x where not «one», out b", "LT110", "`one` is a word of the language",
        "a field of this name is written `ev.one`", "in a key x where not ev.one, out b",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "message", "label", "fixed"), SLIPS, ids=[f"{s[1]}-{i}" for i, s in enumerate(SLIPS)]
)
def test_slip(text: str, code: str, message: str, label: str, fixed: str | None) -> None:
    text, start, end = mark(text)
    found = mistakes(text)[0]
    assert (found.code, found.message, found.label) == (code, message, label)
    assert (found.span.start, found.span.end) == (start, end)
    assert len(found.message) <= 72
    if fixed is None:
        assert not found.fixes
        return
    (fix,) = found.fixes
    assert fix.safe
    assert apply_fixes(found.span.source, [fix]) == fixed
    assert not mistakes(fixed)


def test_codes_have_names() -> None:
    names = {d.code: d.name for slip in SLIPS for d in mistakes(mark(slip[0])[0])}
    assert names == {
        "LT101": "syntax", "LT102": "bare-key-list", "LT103": "duration-unit", "LT104": "clause-name",
        "LT105": "in-as-operator", "LT106": "arrow", "LT107": "assignment-in-where", "LT108": "statement",
        "LT109": "unclosed", "LT110": "reserved-word",
    }  # fmt: skip


def test_bare_keys_at_both_ends_are_mended_together() -> None:
    found = mistake("in a key dev, sector, out b key dev, sector, thresh 10ms")
    assert [(span.text, label) for span, label in found.related] == [("dev, sector", "here as well")]
    assert found.related[0][0].start == 32
    assert found.notes == ("a comma outside parentheses ends a clause, so what follows it was read as the next clause",)
    (fix,) = found.fixes
    assert apply_fixes(found.span.source, [fix]) == "in a key (dev, sector), out b key (dev, sector), thresh 10ms"


def test_one_mistake_an_item_and_the_good_items_remain() -> None:
    text = """
const GOOD = 1
const BAD = = 1 =
rule a { in x key k, out y where z -> w -> v }
rule b { in x key k out y }
c: in x key k where p = 5, out y
d: in x key k, out y
in x key k, threshold 5us, threshhold 6us
rule e { in x key k
rule f { in x key k out y }
macro m( = 1
import "x.lt"
"""
    file, found = parse(Source("t.lt", text))
    assert [(d.span.line, d.code) for d in found] == [
        (3, "LT101"), (4, "LT106"), (6, "LT107"), (8, "LT104"), (9, "LT109"), (11, "LT109"),
    ]  # fmt: skip
    kept = [i.path.value if isinstance(i, syntax.Import) else getattr(i, "name", "") for i in file.items]
    assert kept == ["GOOD", "b", "d", "f", "x.lt"]


def test_indented_items_are_told_apart() -> None:
    text = "  rule a { in x key k out }\n  rule b { in x key k out y }\n"
    file, found = parse(Source("t.lt", text))
    assert len(found) == 1
    assert [i.name for i in file.items if isinstance(i, syntax.Rule)] == ["b"]


def test_words_in_strings_and_comments_begin_no_item() -> None:
    text = 'rule a "\\" rule x {" { # }\n  message "rule b {"\n  in e key = \n}\nrule c { in e key k }'
    file, found = parse(Source("t.lt", text))
    assert [d.span.line for d in found] == [3]
    assert [i.name for i in file.items if isinstance(i, syntax.Rule)] == ["c"]


@pytest.mark.parametrize("char", ["\0", "\x07", "\x1b", "\u202e", "\ufeff", "\udcff"])
def test_control_characters_are_spelled_out(char: str) -> None:
    found = mistake(f"in a {char}key x, out b")
    assert found.code == "LT101"
    assert (found.span.start, found.span.end) == (5, 6)
    assert found.message.isprintable()


def test_expression_in_a_text_is_placed_in_that_text() -> None:
    source = Source("t.lt", 'message "{a +}"')
    found = parse_expression(source, 10, 13)
    assert isinstance(found, Diagnostic)
    assert (found.code, found.message, found.span.start) == ("LT101", "the text ends too early", 13)


def test_empty_expression_is_placed_where_it_would_stand() -> None:
    found = parse_expression(Source("t.lt", 'message "{}"'), 10, 10)
    assert isinstance(found, Diagnostic)
    assert (found.span.start, found.span.end, found.label) == (10, 10, "expected a value")
