"""Each slip gets its sentence, its caret and its fix; no text makes the parser raise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrules import syntax
from ltrules.diagnostics import Diagnostic
from ltrules.parse import parse, parse_expression
from ltrules.report import apply_fixes
from ltrules.source import Source

SEED = (Path(__file__).parent / "every_form.lt").read_text(encoding="utf-8")


def mistakes(text: str) -> tuple[Diagnostic, ...]:
    return parse(Source("t.lt", text))[1]


def mistake(text: str) -> Diagnostic:
    found = mistakes(text)
    assert len(found) == 1, [d.message for d in found]
    return found[0]


# `«…»` marks where the caret must be.
@pytest.mark.parametrize(
    ("code", "marked", "fixed"),
    [
        ("LT101", "in a key b, out c,\n thresh 5us «@»", None),
        ("LT101", "in a key b\n«out» c, thresh 5us", "in a key b,\nout c, thresh 5us"),
        ("LT101", "in a key b, out c«,»", "in a key b, out c"),
        ("LT101", "in a«,» key b, out c", "in a key b, out c"),
        ("LT101", "in a key b, out c, hist latency«,» by d", "in a key b, out c, hist latency by d"),
        ("LT101", "in a key (b «c»), out d", "in a key (b, c), out d"),
        ("LT101", "in a key b, thresh «=» 5us", "in a key b, thresh 5us"),
        ("LT101", "in a key b, thresh«:» 5us", "in a key b, thresh 5us"),
        ("LT101", "rule r { in a key b«;» out c; }", "rule r { in a key b out c }"),
        ("LT101", "rule r { in a key b «const» A = 1 }", None),
        ("LT101", "in a key b, «thresh»", None),
        ("LT101", "«in»", None),
        ("LT101", "in a key b«)»", None),
        ("LT101", "in a key b where c == «'»x', out d", 'in a key b where c == "x", out d'),
        ("LT101", "in a key b where c == «“»x”, out d", 'in a key b where c == "x", out d'),
        ("LT101", "«LIMIT» = 5us", "const LIMIT = 5us"),
        ("LT101", "«rul» r { in a key b }", "rule r { in a key b }"),
        ("LT101", "in a key b, on «alrt» print", "in a key b, on alert print"),
        ("LT101", "param p: «time» = 5ms", None),
        ("LT101", 'const A = "x«\\q»"', None),
        ("LT101", "const A = «99999999999999999999»", None),
        ("LT101", "in a key b«\0», out c", None),
        ("LT101", "in a key b # «\u202e»", None),
        ("LT102", "in a key «b, c.d», out e", "in a key (b, c.d), out e"),
        ("LT102", "rule r {\n in a key «b, c»\n out d }", "rule r {\n in a key (b, c)\n out d }"),
        ("LT102", "in a key «b, c», out d key b, c, thresh 5us", "in a key (b, c), out d key (b, c), thresh 5us"),
        ("LT102", "in a key b capture «c, d», out e", "in a key b capture (c, d), out e"),
        (
            "LT102",
            "in a key b, hist latency by «in.c, d», thresh 1s",
            "in a key b, hist latency by (in.c, d), thresh 1s",
        ),
        ("LT103", "in a key b, thresh «5 us»", "in a key b, thresh 5us"),
        ("LT103", "in a key b, thresh «5 usec», out c", "in a key b, thresh 5us, out c"),
        ("LT103", "in a key b, thresh 5«usec»", "in a key b, thresh 5us"),
        ("LT103", "in a key b, thresh 5«US»", "in a key b, thresh 5us"),
        ("LT103", "in a key b, thresh 5«Ms»", "in a key b, thresh 5ms"),
        ("LT103", "in a key b, thresh 5«parsec»", None),
        ("LT103", "in a key b, thresh 5«M»", None),
        ("LT103", "in a key b, thresh «1.5»", None),
        ("LT103", "in a key b, thresh «.»5ms", "in a key b, thresh 0.5ms"),
        ("LT103", "in a key b, thresh «0.5ns»", None),
        ("LT103", "in a key b, thresh «99999999999h»", None),
        ("LT104", "in a key b, «threshold» 5us", "in a key b, thresh 5us"),
        ("LT104", "in a key b, «treshold» 5us", "in a key b, thresh 5us"),
        ("LT104", "in a key b, «timeouts» 5us", "in a key b, timeout 5us"),
        ("LT104", "rule r { in a key b\n «tiemout» 5us }", "rule r { in a key b\n timeout 5us }"),
        ("LT104", "rule r { in a key b\n «OUT» c }", "rule r { in a key b\n out c }"),
        ("LT104", "in a «kye» b, out c", "in a key b, out c"),
        ("LT104", "in a key b «if» c > 1, out d", "in a key b where c > 1, out d"),
        ("LT104", "in a key b, «filter» c > 1, out d", "in a key b where c > 1, out d"),
        ("LT104", "in a key b, hist latency «group by» c", "in a key b, hist latency by c"),
        ("LT105", "in a key b where c «in» (1, 2), out d", "in a key b where c one of [1, 2], out d"),
        ("LT105", "in a key b where c «in» [1, 2], out d", "in a key b where c one of [1, 2], out d"),
        ("LT105", "in a key b where c.d not «in» (1), out d", "in a key b where not c.d one of [1], out d"),
        (
            "LT105",
            "rule r { in a key b where c «in» {1, 2} out d }",
            "rule r { in a key b where c one of [1, 2] out d }",
        ),
        ("LT105", "in a key b where c «in» SET, out d", "in a key b where c one of SET, out d"),
        ("LT105", "rule r { in a key b where c «in» SET\n out d }", "rule r { in a key b where c one of SET\n out d }"),
        ("LT105", "macro f(x) = x «in» (1, 2)", "macro f(x) = x one of [1, 2]"),
        ("LT106", "in a key b«->»c, out d", "in a key b.c, out d"),
        ("LT106", "in a key b where c «->» d == 1, out d", "in a key b where c.d == 1, out d"),
        ("LT107", "in a key b where c «=» 1, out d", "in a key b where c == 1, out d"),
        ("LT107", "in a key b where key «=» 1, out d", "in a key b where key == 1, out d"),
        ("LT107", "in a key b where c «===» 1, out d", "in a key b where c == 1, out d"),
        ("LT107", "in a key b where c «= =» 1, out d", "in a key b where c == 1, out d"),
        ("LT107", "rule r { in a key b out c when (in.x «=» 1) }", "rule r { in a key b out c when (in.x == 1) }"),
        ("LT108", "rule r { in a key b\n «let» x = 1\n out c }", None),
        ("LT108", "rule r { in a key b\n «x» = 1\n out c }", None),
        ("LT108", "rule r { in a key b\n «if» (x > 1) { print }\n out c }", None),
        ("LT108", "rule r { in a key b\n «printf»(x)\n out c }", None),
        ("LT108", "rule r { in a key b\n «$»x = 1\n out c }", None),
        ("LT108", "rule r { in a key b\n «@»t[b] = 1\n out c }", None),
        ("LT109", "rule r «{»\n in a key b\n out c\n", None),
        ("LT109", "in a key «(»b, c, out d key b", None),
        ("LT109", "rule r {\n in a key «(»b, c\n out d\n}", None),
        ("LT109", 'in a key b, message «"»x', None),
        ("LT109", 'rule r { «"""» text }', None),
        ("LT110", "in a key «timeout», out c", "in a key ev.timeout, out c"),
        ("LT110", "in a key b where «test» == 1, out c", "in a key b where ev.test == 1, out c"),
        ("LT110", "const «key» = 1", None),
        ("LT110", "«one»: in a key b, out c", None),
        ("LT101", "rule «5x» { in a key b }", None),
        ("LT101", "in a key b, rate 5 «1s»", None),
        ("LT110", "in a key b, thresh «one»", None),
    ],
)
def test_a_slip_is_explained(code: str, marked: str, fixed: str | None) -> None:
    text = marked.replace("«", "").replace("»", "")
    found = mistake(text)
    assert found.code == code, found.message
    start = marked.index("«")
    assert (found.span.start, found.span.end) == (start, marked.index("»") - 1)
    assert len(found.message) <= 72
    if fixed is None:
        assert not [fix for fix in found.fixes if fix.safe]
        return
    (fix,) = found.fixes
    assert fix.safe
    assert apply_fixes(found.span.source, [fix]) == fixed
    assert mistakes(fixed) == ()


def test_both_lists_of_a_rule_are_shown() -> None:
    found = mistake("in a key b, c, out d key b, c, thresh 10ms")
    assert [(span.text, label) for span, label in found.related] == [("b, c", "here as well")]
    assert found.notes == ("a comma outside parentheses ends a clause, so `c` was read as the next clause",)


def test_every_bad_item_is_reported_and_the_good_ones_are_kept() -> None:
    text = """\
const A 5
irq: in a key b, out c
rule first { in a key b where c = 1 }
rule two { in a key b out c }
in a key b, treshold 5us
param p: int = 5
in a key b, out c; in a key b, thresh 5 us
macro m(x) = x
rule three {
  in a key b
rule four { in a key b }
"""
    file, found = parse(Source("t", text))
    assert [(d.code, d.span.line) for d in found] == [
        ("LT101", 1),
        ("LT107", 3),
        ("LT104", 5),
        ("LT103", 7),
        ("LT109", 9),
    ]
    names = [getattr(item, "name", None) for item in file.items]
    assert names == ["irq", "two", "p", None, "m", "four"]


def test_a_line_rule_survives_a_bad_item_after_it() -> None:
    file, found = parse(Source("t", "in a key b, out c\nrul x { in a key b }\nconst A = 1"))
    assert len(file.items) == 2
    assert [(d.span.line, d.label) for d in found] == [(2, "did you mean `rule`?")]


def test_an_unclosed_doc_does_not_swallow_the_next_rule() -> None:
    file, found = parse(Source("t", 'rule a { """ text }\nrule b { """ more """ in a key b }\n'))
    assert [d.code for d in found] == ["LT109"]
    assert [item.name for item in file.items if isinstance(item, syntax.Rule)] == ["b"]


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    file, found = parse(Source("t", 'rule a { message "}" } # }\nbad\nrule b { """ } """ in a key b }'))
    assert len(found) == 1
    assert len(file.items) == 2


@pytest.mark.parametrize(
    "text",
    [
        "in a key " + "(" * 10_000 + "b" + ")" * 10_000,
        "in a key " + "(" * 10_000,
        "in a where " + "not " * 10_000 + "b",
        "in a where " + "-" * 10_000 + "b",
        "in a where " + " or ".join(["b"] * 10_000),
        "const A = a" + "[0]" * 3_000,
        "const A = " + "1" * 10_000,
        "const A = " + "1" * 10_000 + "s",
        "rule a {" * 5_000,
        '"""\n' * 5_001,
    ],
)
def test_a_monstrous_text_gives_one_diagnostic(text: str) -> None:
    assert len(mistakes(text)) == 1


def test_a_text_that_is_no_rule_file_is_given_up() -> None:
    assert len(mistakes("in a key\n" * 10_000)) == 100


def check(text: str) -> None:
    source = Source("t", text)
    file, found = parse(source)
    for diagnostic in found:
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
        assert "\n" not in diagnostic.message
        for fix in diagnostic.fixes:
            apply_fixes(source, [fix])
    places = [(item.span.start, item.span.end) for item in file.items]
    assert places == sorted(places)


@given(st.text())
def test_no_text_makes_the_parser_raise(text: str) -> None:
    check(text)


SIGNS = ("(", ")", "[", "]", "{", "}", ",", ";", ":", ".", "=", "==", "->", '"', '"""', "'", "#", "\n")
TOKENS = sorted({*SEED.split(), *SIGNS, "in", "not", "5", "5us", "5usec", "key", "if"})


@given(st.lists(st.sampled_from(TOKENS), max_size=40))
def test_no_order_of_words_makes_the_parser_raise(words: list[str]) -> None:
    check(" ".join(words))


@given(st.integers(0, len(SEED)), st.integers(0, 40), st.sampled_from(TOKENS))
def test_no_damage_makes_the_parser_raise(start: int, length: int, put: str) -> None:
    check(SEED[:start] + put + SEED[start + length :])


@given(st.text())
def test_no_text_makes_the_parser_of_expressions_raise(text: str) -> None:
    parse_expression(Source("t", f"<{text}>"), 1, 1 + len(text))
