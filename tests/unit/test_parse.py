"""Rule files become syntax trees, whatever form they use."""

from __future__ import annotations

from pathlib import Path

import pytest
from lark.lexer import TerminalDef

from ltrules import syntax
from ltrules.diagnostics import Diagnostic
from ltrules.parse import parse, parse_expression
from ltrules.parse.grammar import build, grammar_text, parser
from ltrules.parse.words import RESERVED, words_of
from ltrules.resources import resource
from ltrules.source import Source, read_source
from ltrules.template import split_message

EVERY_FORM = Path(__file__).parent / "every_form.lt"


def read(text: str) -> syntax.File:
    file, diagnostics = parse(Source("t.lt", text))
    assert diagnostics == ()
    return file


def one(text: str) -> syntax.FileItem:
    (item,) = read(text).items
    return item


def clauses(text: str) -> tuple[syntax.Clause, ...]:
    rule = one(text)
    assert isinstance(rule, syntax.Rule)
    return rule.clauses


def expr(text: str) -> syntax.Expr:
    found = parse_expression(Source("t.lt", text), 0, len(text))
    assert isinstance(found, syntax.Expr), found
    return found


def shown(node: syntax.Expr) -> str:
    """Write an expression with all its parentheses."""
    match node:
        case syntax.Number(value=value, unit=unit):
            return f"{value}{'' if unit == 'int' else unit[0]}"
        case syntax.Text(value=value):
            return repr(value)
        case syntax.Bool(value=value):
            return str(value)
        case syntax.Name():
            return str(node)
        case syntax.Call(function=function, arguments=arguments):
            return f"{function}({', '.join(shown(a) for a in arguments)})"
        case syntax.Index(base=base, index=index, path=path):
            return f"{shown(base)}[{shown(index)}]" + "".join(f".{p}" for p in path)
        case syntax.Unary(operator=operator, operand=operand):
            return f"({operator} {shown(operand)})"
        case syntax.Binary(operator=operator, left=left, right=right):
            return f"({shown(left)} {operator} {shown(right)})"
        case syntax.Member(operand=operand, choices=choices):
            return f"({shown(operand)} one of {shown(choices)})"
        case syntax.ListExpr(items=items):
            return f"[{', '.join(shown(i) for i in items)}]"
    raise AssertionError(node)


def test_the_grammar_is_strictly_lalr() -> None:
    pytest.importorskip("interegular")
    build(grammar_text(), strict=True)


def test_every_form_parses() -> None:
    file, diagnostics = parse(read_source(EVERY_FORM))
    assert diagnostics == ()
    assert len(file.items) == 19


@pytest.mark.parametrize("path", sorted(resource("rules").rglob("*.lt")), ids=lambda path: path.name)
def test_every_shipped_rule_parses(path: Path) -> None:
    assert parse(read_source(path))[1] == ()


def test_the_words_of_the_tables_are_those_of_the_grammar() -> None:
    terminals: list[TerminalDef] = parser().terminals
    known = words_of(frozenset(t.name for t in terminals))
    assert known >= RESERVED
    for terminal in terminals:
        if terminal.name.isalpha() and terminal.pattern.value == rf"{terminal.name.lower()}\b":
            assert terminal.name.lower() in known
    name = next(t for t in terminals if t.name == "NAME")
    assert set(name.pattern.value.split("(?:")[1].split(")")[0].split("|")) == RESERVED


def test_a_line_rule_spans_its_first_to_its_last_token() -> None:
    rule = one("  # why\n  in a key b, out c, thresh 5us  \n")
    assert isinstance(rule, syntax.Rule)
    assert rule.span.text == "in a key b, out c, thresh 5us"
    assert rule.name is None
    assert rule.span.line == 2


def test_a_named_line_rule() -> None:
    rule = one("irq: in a key b, out c")
    assert isinstance(rule, syntax.Rule)
    assert (rule.name, rule.name_span.text) == ("irq", "irq")


@pytest.mark.parametrize("word", ["keep", "drop", "slack", "by", "ratchet", "optional", "log2", "print", "at_"])
def test_a_soft_word_may_name_the_next_rule(word: str) -> None:
    text = f"in a key b, out c, timeout 5us, thresh 1us, hist latency, on alert print\n{word}: in a key b, out c"
    assert [rule.name for rule in read(text).items if isinstance(rule, syntax.Rule)] == [None, word]


def test_timeout_takes_a_mode_and_a_slack() -> None:
    *_, plain, both = clauses("in a key b, timeout 6us slack 50us, timeout 6us drop slack 1ms")
    assert isinstance(plain, syntax.Timeout) and isinstance(both, syntax.Timeout)
    assert plain.mode is None and plain.slack is not None and shown(plain.slack) == "50000d"
    assert both.mode == "drop" and both.slack is not None and shown(both.slack) == "1000000d"


def test_a_block_rule_has_a_title_a_doc_and_clauses() -> None:
    rule = one('rule r "T" {\n  """\n  One.\n    Two.\n  """\n  in a key b\n  out c\n}')
    assert isinstance(rule, syntax.Rule)
    assert (rule.name, rule.title, rule.doc) == ("r", "T", "One.\n  Two.")
    assert [c.role for c in rule.clauses if isinstance(c, syntax.EventClause)] == ["in", "out"]


def test_events_are_columns_of_alternatives() -> None:
    clause = clauses("in a or g:b? else raw:c key k")[0]
    assert isinstance(clause, syntax.EventClause)
    assert [[(p.text, p.optional) for p in column] for column in clause.events.columns] == [
        [("a", False), ("g:b", True)],
        [("raw:c", False)],
    ]


def test_keys_and_captures_keep_the_names_given() -> None:
    clause = clauses("in a key (cpu.id, fd = ret) then p.q capture (x, y = z) from (in, s)")[0]
    assert isinstance(clause, syntax.EventClause)
    key, capture, source = clause.modifiers
    assert isinstance(key, syntax.Key) and isinstance(capture, syntax.Capture) and isinstance(source, syntax.From)
    assert [(i.name, shown(i.expr)) for i in key.items] == [(None, "cpu.id"), ("fd", "ret")]
    assert key.items[1].name_span is not None and key.items[1].name_span.text == "fd"
    assert [(i.name, shown(i.expr)) for i in key.then] == [(None, "p.q")]
    assert [(i.name, shown(i.expr)) for i in capture.items] == [(None, "x"), ("y", "z")]
    assert source.stages == ("in", "s")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a or b and not c or d", "((a or (b and (not c))) or d)"),
        ("a || b && !c", "(a or (b and (not c)))"),
        ("a & 1 == 2", "((a & 1) == 2)"),
        ("1 - 2 - 3 * -4", "((1 - 2) - (3 * (- 4)))"),
        ("(1 - (2 - 3)) * ~x", "((1 - (2 - 3)) * (~ x))"),
        ("1 << 2 + 3 | 4", "((1 << (2 + 3)) | 4)"),
        ('comm =~ "a*"', "(comm =~ 'a*')"),
        ("flags has SPIN", "(flags has SPIN)"),
        ("x one of [1, B]", "(x one of [1, B])"),
        ("not x one of WAITERS", "(not (x one of WAITERS))"),
        ("in.prio + out.x - key", "((in.prio + out.x) - key)"),
        ("sc.f(a, g())", "sc.f(a, g())"),
        ("args[0].x[i]", "args[0].x[i]"),
        ("0xFF + 1_000 + 007", "((255 + 1000) + 7)"),
        ("1.5ms + 5µs + 5μs + 2KiB", "(((1500000d + 5000d) + 5000d) + 2048s)"),
        ("latency > 5us", "(latency > 5000d)"),
        ("true", "True"),
    ],
)
def test_expressions(text: str, wanted: str) -> None:
    assert shown(expr(text)) == wanted


def test_a_span_includes_the_parentheses() -> None:
    node = expr("(a + b) * (c) - 1")
    assert isinstance(node, syntax.Binary) and isinstance(node.left, syntax.Binary)
    assert node.span.text == "(a + b) * (c) - 1"
    assert node.left.span.text == "(a + b) * (c)"
    assert node.left.left.span.text == "(a + b)"


def test_an_expression_points_into_the_whole_text() -> None:
    text = 'é "{in.comm}" x'
    found = parse_expression(Source("t", text), 4, 11)
    assert isinstance(found, syntax.Name)
    assert (found.span.start, found.span.text) == (4, "in.comm")


def test_actions_keep_their_operands() -> None:
    text = 'on alert { print "x", capture a, tracing off, signal KILL to 3, exec ["a", "b"] }'
    clause = clauses(f"in a key b, {text}")[-1]
    assert isinstance(clause, syntax.On)
    assert [(a.word, len(a.operands)) for a in clause.actions] == [
        ("print", 1),
        ("capture", 1),
        ("tracing off", 0),
        ("signal", 2),
        ("exec", 2),
    ]


def test_meta_and_requires() -> None:
    rule = one('rule r { meta { s = warning n = 3 o = true t = [a, "b"] d = """x""" } requires kernel >= 5.15 }')
    assert isinstance(rule, syntax.Rule)
    meta, requires = rule.clauses
    assert isinstance(meta, syntax.Meta) and isinstance(requires, syntax.Requires)
    assert [item.value for item in meta.items] == ["warning", 3, True, ("a", "b"), "x"]
    assert (requires.kind, requires.words) == ("kernel", (">=", "5.15"))


def message(literal: str) -> list[str]:
    clause = clauses(f"in a key b, message {literal}")[-1]
    assert isinstance(clause, syntax.Message)
    return [part if isinstance(part, str) else f"<{part.text}>" for part in split_message(clause.text)]


@pytest.mark.parametrize(
    ("literal", "parts"),
    [
        ('""', []),
        ('"a {b} c"', ["a ", "<b>", " c"]),
        ('"{a}{b.c}"', ["<a>", "<b.c>"]),
        ('"{{{a}}}"', ["{", "<a>", "}"]),
        (r'"\"{f(x)}\n"', ['"', "<f(x)>", "\n"]),
        ('"{}"', ["<>"]),
        ('"a {b"', ["a ", "<{b>"]),
        ('"a {b {c}"', ["a ", "<{b {c}>"]),
    ],
)
def test_messages_split_at_braces(literal: str, parts: list[str]) -> None:
    assert message(literal) == parts


@pytest.mark.parametrize(("text", "code"), [("", "LT101"), ("{b", "LT109"), ("a b", "LT101"), ("a +", "LT101")])
def test_what_is_no_expression_gives_a_diagnostic(text: str, code: str) -> None:
    found = parse_expression(Source("t", f"..{text}.."), 2, 2 + len(text))
    assert isinstance(found, Diagnostic)
    assert found.code == code
    assert 2 <= found.span.start <= found.span.end <= 2 + len(text)


@pytest.mark.parametrize("damage", [b"", b"\x80\x05garbage", b"\x80\x04N."])
def test_a_damaged_cache_entry_is_made_anew(damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    parser.cache_clear()
    parser()
    (entry,) = (tmp_path / "ltrules").iterdir()
    entry.write_bytes(damage)
    parser.cache_clear()
    parser()
    assert len(entry.read_bytes()) > 100_000
    parser.cache_clear()
    parser().parse("in a key b", start="start")
