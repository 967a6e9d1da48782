"""Every construct of the grammar becomes the right node, at the right place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ltrules import syntax
from ltrules.diagnostics import Diagnostic
from ltrules.parse import grammar, parse, parse_expression
from ltrules.source import Source, Span, read_source

EXAMPLES = sorted((Path(__file__).parents[1] / "data" / "syntax").glob("*.lt"))
#: Rules of the grammar that only ever stand for one of their parts.
TRANSPARENT = {"atom", "cap_item", "cmp_x", "expr", "not_x", "postfix", "set_x", "unary"}


def items(text: str) -> tuple[Any, ...]:
    """Return the items of a text without mistakes."""
    file, diagnostics = parse(Source("t.lt", text))
    assert not diagnostics, [(d.message, d.label) for d in diagnostics]
    return file.items


def clause(text: str) -> Any:
    """Return a clause that stands in a block."""
    (rule,) = items(f"rule r {{ {text} }}")
    (found,) = rule.clauses
    assert found.span.text == text
    return found


def expression(text: str) -> Any:
    source = Source("t.lt", f"({text})")
    node = parse_expression(source, 1, len(text) + 1)
    assert not isinstance(node, Diagnostic), node.message
    return node


def nodes(value: Any) -> Iterator[syntax.Node]:
    """Iterate over a node and all that it is made of."""
    if isinstance(value, syntax.Node):
        yield value
    if dataclasses.is_dataclass(value) and not isinstance(value, Span | Source):
        for field in dataclasses.fields(value):
            yield from nodes(getattr(value, field.name))
    if isinstance(value, tuple):
        for part in value:
            yield from nodes(part)


def shape(value: Any) -> Any:
    """Return an expression as S-expressions: what belongs to what."""
    match value:
        case syntax.Number(value=number):
            return number
        case syntax.Text(value=text):
            return repr(text)
        case syntax.Bool(value=truth):
            return truth
        case syntax.Name():
            return str(value)
        case syntax.Unary(operator=operator, operand=operand):
            return (operator, shape(operand))
        case syntax.Binary(operator=operator, left=left, right=right):
            return (operator, shape(left), shape(right))
        case syntax.Member(operand=operand, choices=choices):
            return ("one of", shape(operand), shape(choices))
        case syntax.ListExpr(items=parts):
            return [shape(part) for part in parts]
        case syntax.Call(function=function, arguments=arguments):
            return (str(function), *(shape(a) for a in arguments))
        case syntax.Index(base=base, index=index, path=path):
            return ("[]", shape(base), shape(index), *path)
    raise AssertionError(value)


# -------------------------------------------------------------------------------- the grammar
def test_examples_parse_without_mistakes() -> None:
    for path in EXAMPLES:
        _, diagnostics = parse(read_source(path))
        assert not diagnostics, [(str(d.span), d.message) for d in diagnostics]


def test_examples_use_the_whole_grammar() -> None:
    parser = grammar.parser()
    used = {
        str(tree.data)
        for path in EXAMPLES
        for tree in parser.parse(read_source(path).text, start="start").iter_subtrees()
    }
    rules = {str(rule.alias or rule.origin.name) for rule in parser.rules}
    assert {name for name in rules if not name.startswith("_")} - used == TRANSPARENT


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_node_stands_within_its_parent(path: Path) -> None:
    file, _ = parse(read_source(path))
    assert file.items
    for item in file.items:
        for node in nodes(item):
            assert item.span.start <= node.span.start < node.span.end <= item.span.end, node
            assert node.span.text == node.span.text.strip(), node
            for part in nodes(tuple(getattr(node, f.name) for f in dataclasses.fields(node))):
                assert node.span.start <= part.span.start and part.span.end <= node.span.end, (node, part)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_text_of_an_expression_is_that_expression(path: Path) -> None:
    source = read_source(path)
    file, _ = parse(source)
    found = [n for item in file.items for n in nodes(item) if isinstance(n, syntax.Expr)]
    for node in found:
        if not isinstance(node, syntax.ListExpr):
            assert parse_expression(source, node.span.start, node.span.end) == node


# -------------------------------------------------------------------------------------- items
def test_rule_on_one_line() -> None:
    (rule,) = items("  in a key x, out b key y, thresh 5us  # end\n")
    assert isinstance(rule, syntax.Rule)
    assert rule.span.text == "in a key x, out b key y, thresh 5us"
    assert (rule.name, rule.title, rule.doc) == (None, "", "")
    assert rule.name_span == rule.span
    assert [type(c).__name__ for c in rule.clauses] == ["EventClause", "EventClause", "Thresh"]


def test_rules_on_lines_end_where_the_next_begins() -> None:
    found = items(
        "a: in x key k, out y, timeout 6us\nkeep: in x key k, out y;in x key k, out y, duplicate keep\nb: in x key k"
    )
    assert [rule.name for rule in found] == ["a", "keep", None, "b"]
    assert found[1].name_span.text == "keep"
    assert found[0].clauses[2].mode is None
    assert found[2].clauses[2].mode == "keep"


def test_block_rule() -> None:
    (rule,) = items('rule slow "A \\"title\\"" {\n  """\n    First.\n      More.\n  """\n  in a key x,\n  out b\n}')
    assert (rule.name, rule.name_span.text) == ("slow", "slow")
    assert rule.title == 'A "title"'
    assert rule.doc == "First.\n  More."
    assert [c.role for c in rule.clauses] == ["in", "out"]


def test_empty_block_parses() -> None:
    (rule,) = items("rule none { }")
    assert rule.clauses == ()


def test_derived_rule() -> None:
    (rule,) = items('rule fast "Quick" = a.slow(limit = 1us, only = [1, 2])')
    assert isinstance(rule, syntax.DerivedRule)
    assert (rule.name, rule.name_span.text, rule.title, str(rule.base)) == ("fast", "fast", "Quick", "a.slow")
    assert [(a.name, shape(a.value)) for a in rule.arguments] == [("limit", 1000), ("only", [1, 2])]
    assert rule.arguments[0].span.text == "limit = 1us"


@pytest.mark.parametrize(
    ("text", "path", "alias"), [('import "x.lt" as y', "x.lt", "y"), ('import "std:sched.lt"', "std:sched.lt", None)]
)
def test_import(text: str, path: str, alias: str | None) -> None:
    (item,) = items(text)
    assert (item.path.value, item.alias, item.path.span.text) == (path, alias, f'"{path}"')


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("ltrules >= 1.0", "ltrules", (">=", "1.0")),
        ("kernel < 6.1.2", "kernel", ("<", "6.1.2")),
        ("feature ringbuf", "feature", ("ringbuf",)),
        ("config PREEMPT_RT", "config", ("PREEMPT_RT",)),
        ("event sched:x", "event", ("sched:x",)),
    ],
)
def test_requires(text: str, kind: str, words: tuple[str, ...]) -> None:
    (item,) = items(f"requires {text}")
    assert (item.kind, item.words) == (kind, words)


def test_const_and_macro() -> None:
    const, listing, macro, nothing = items("const A = 5us const B = [1, 2,] macro f(x, y) = x + y macro g() = 1")
    assert (const.name, const.name_span.text, shape(const.value), const.value.unit) == ("A", "A", 5000, "duration")
    assert shape(listing.value) == [1, 2]
    assert (macro.name, macro.name_span.text, macro.parameters) == ("f", "f", ("x", "y"))
    assert shape(macro.body) == ("+", "x", "y")
    assert nothing.parameters == ()


def test_param() -> None:
    (param,) = items('param limit: duration = 1ms range 1us to 10s "How long"')
    assert (param.name, param.name_span.text, param.type, param.doc) == ("limit", "limit", "duration", "How long")
    assert [shape(v) for v in (param.default, param.low, param.high)] == [1_000_000, 1_000, 10_000_000_000]
    (bare,) = items("param on: bool = true")
    assert (bare.low, bare.high, bare.doc) == (None, None, "")


def test_test_block() -> None:
    (block,) = items(
        'test "too long" for s.w { catalog "6.1" param limit = 1ms '
        'at 2.5ms sched:x { pid = 4, in.y = "a", args[1] = 2, } until 1s '
        'expect 2 alerts for w { key.pid = 4 } expect no timeout expect pending replay "f" }'
    )
    assert (block.title.value, str(block.rule)) == ("too long", "s.w")
    catalog, param, at, until, expect, none, some, replay = block.steps
    assert (type(catalog), catalog.path.value) == (syntax.TestCatalog, "6.1")
    assert (param.name, param.name_span.text, shape(param.value)) == ("limit", "limit", 1_000_000)
    assert (type(at), at.time_ns, at.probe.text) == (syntax.TestEvent, 2_500_000, "sched:x")
    assert [(str(b.name), b.index and b.index.value, shape(b.value)) for b in at.bindings] == [
        ("pid", None, 4),
        ("in.y", None, "'a'"),
        ("args", 1, 2),
    ]
    assert (type(until), until.time_ns) == (syntax.TestUntil, 1_000_000_000)
    assert (expect.count, expect.count_span.text, expect.kind, str(expect.rule)) == (2, "2", "alerts", "w")
    assert expect.kind_span.text == "alerts"
    assert (none.count, none.kind, none.rule, none.bindings) == (0, "timeout", None, ())
    assert (some.count, some.count_span, some.kind) == (None, None, "pending")
    assert (type(replay), replay.path.value) == (syntax.TestReplay, "f")


# ------------------------------------------------------------------------- events, modifiers
@pytest.mark.parametrize("role", ["in", "out", "step", "cancel", "during"])
def test_event_clause(role: str) -> None:
    found = clause(f"{role} a:b or c? else d key x")
    assert (found.role, found.took) == (role, None)
    assert found.events.span.text == "a:b or c? else d"
    assert [[(p.text, p.optional) for p in column] for column in found.events.columns] == [
        [("a:b", False), ("c", True)],
        [("d", False)],
    ]


def test_at_clause() -> None:
    found = clause("at a took delay * 1ns key x where y as z")
    assert found.role == "at"
    assert shape(found.took) == ("*", "delay", 1)
    assert [type(m).__name__ for m in found.modifiers] == ["Key", "Where", "Label"]


@pytest.mark.parametrize(
    "probe",
    ["raw:x", "kprobe:f+0x10", "fentry:mod:f", "uprobe:/usr/lib/libc.so.6:malloc", 'usdt:"/opt/a b/c":prov:name'],
)
def test_probe_with_colons(probe: str) -> None:
    found = clause(f"in {probe} key x")
    assert found.events.columns[0][0].text == probe


@pytest.mark.parametrize(
    ("text", "names", "exprs", "then"),
    [
        ("key pid", [None], ["pid"], []),
        ("key pid + 1", [None], [("+", "pid", 1)], []),
        ("key (pid)", [None], ["pid"], []),
        ("key (a, b)", [None, None], ["a", "b"], []),
        ("key (who = pid, cpu.id,)", ["who", None], ["pid", "cpu.id"], []),
        ("key cpu.id then (a, b)", [None], ["cpu.id"], ["a", "b"]),
    ],
)
def test_key(text: str, names: list[str | None], exprs: list[Any], then: list[Any]) -> None:
    (key,) = clause(f"in e {text}").modifiers
    assert key.span.text == text
    assert [i.name for i in key.items] == names
    assert [shape(i.expr) for i in key.items] == exprs
    assert [shape(i.expr) for i in key.then] == then


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("capture prio", [(None, "prio")]),
        ("capture x = a + b", [("x", ("+", "a", "b"))]),
        ("capture (prio, who = task.comm,)", [(None, "prio"), ("who", "task.comm")]),
        ("capture args[1].name", [(None, ("[]", "args", 1, "name"))]),
    ],
)
def test_capture(text: str, found: list[Any]) -> None:
    (capture,) = clause(f"in e {text}").modifiers
    assert [(i.name, shape(i.expr)) for i in capture.items] == found
    assert all(i.name_span is None or i.name_span.text == i.name for i in capture.items)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("as done", ("Label", "name", "done")),
        ("from a", ("From", "stages", ("a",))),
        ("from (in, a)", ("From", "stages", ("in", "a"))),
        ("fork", ("Flag", "word", "fork")),
        ("optional", ("Flag", "word", "optional")),
        ("once", ("Flag", "word", "once")),
    ],
)
def test_modifier(text: str, node: tuple[str, str, Any]) -> None:
    (modifier,) = clause(f"step e {text}").modifiers
    assert (type(modifier).__name__, node[1], getattr(modifier, node[1])) == node
    assert modifier.span.text == text


def test_where_and_within() -> None:
    where, within = clause("step e where a == 1 within 2ms").modifiers
    assert shape(where.condition) == ("==", "a", 1)
    assert shape(within.limit) == 2_000_000


# ------------------------------------------------------------------------------------ clauses
@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("when latency > 1us", "When", {"condition": (">", "latency", 1000)}),
        ("thresh limit", "Thresh", {"limit": "limit", "ratchet": False}),
        ("thresh 5us ratchet", "Thresh", {"limit": 5000, "ratchet": True}),
        ("timeout 6us", "Timeout", {"limit": 6000, "mode": None, "slack": None}),
        ("timeout 6us keep", "Timeout", {"mode": "keep"}),
        ("timeout 6us drop slack 1us", "Timeout", {"mode": "drop", "slack": 1000}),
        ("expire 60s", "Expire", {"limit": 60_000_000_000}),
        ("inflight 100", "Inflight", {"room": 100, "mode": None}),
        ("inflight 100 evict", "Inflight", {"mode": "evict"}),
        ("duplicate keep", "Duplicate", {"mode": "keep", "depth": None}),
        ("duplicate nest 8", "Duplicate", {"mode": "nest", "depth": 8}),
        ("duplicate all 0x10", "Duplicate", {"mode": "all", "depth": 16}),
        ("rate 5 per 1s", "Rate", {"word": "rate", "count": 5, "period": 1_000_000_000}),
        ("after 5 per 1s by key", "Rate", {"word": "after"}),
        ("sample 1 of 10", "Sample", {"take": 1, "of": 10}),
        ("stat count", "Stat", {"function": "count", "value": None, "name": None}),
        ("stat max in.x by key as worst", "Stat", {"function": "max", "value": "in.x", "name": "worst"}),
        ("hist latency", "Hist", {"value": "latency", "scale": None, "name": None}),
        ('message "{key}\\n"', "Message", {"text": "'{key}\\n'"}),
    ],
)
def test_clause(text: str, kind: str, values: dict[str, Any]) -> None:
    found = clause(text)
    assert type(found).__name__ == kind
    for name, value in values.items():
        member = getattr(found, name)
        assert (shape(member) if isinstance(member, syntax.Expr) else member) == value


def test_hist_scales_groups_and_name() -> None:
    log2 = clause("hist latency log2 by (in.a, b = in.c) as waits")
    assert (log2.scale.kind, log2.scale.bounds, log2.name) == ("log2", (), "waits")
    assert [(i.name, shape(i.expr)) for i in log2.by] == [(None, "in.a"), ("b", "in.c")]
    linear = clause("hist latency linear(0us, 10us, 1us)")
    assert [shape(b) for b in linear.scale.bounds] == [0, 10_000, 1_000]
    assert linear.scale.span.text == "linear(0us, 10us, 1us)"


@pytest.mark.parametrize(
    ("text", "word", "operands"),
    [
        ("print", "print", []),
        ('print "x"', "print", ["'x'"]),
        ('record "f"', "record", ["'f'"]),
        ("capture (s = kstack())", "capture", [("s", ("kstack",))]),
        ("snapshot", "snapshot", []),
        ("tracing off", "tracing off", []),
        ("signal SIGUSR1", "signal", ["SIGUSR1"]),
        ("signal SIGUSR1 to in.tid", "signal", ["SIGUSR1", "in.tid"]),
        ('exec ["a", "b"]', "exec", ["'a'", "'b'"]),
        ("stop", "stop", []),
    ],
)
def test_action(text: str, word: str, operands: list[Any]) -> None:
    found = clause(f"on alert {text}")
    (action,) = found.actions
    assert (found.trigger, action.word, action.span.text) == ("alert", word, text)
    shown = [(o.name, shape(o.expr)) if isinstance(o, syntax.Item) else shape(o) for o in action.operands]
    assert shown == operands


def test_on_with_several_actions() -> None:
    found = clause('on timeout { print "x", stop snapshot }')
    assert (found.trigger, [a.word for a in found.actions]) == ("timeout", ["print", "stop", "snapshot"])


def test_meta() -> None:
    found = clause(
        'meta { severity = critical, a = "b\\"" n = 3 on = true tags = [x, "y z"] none = [] d = """\n t\n""" }'
    )
    assert {i.name: i.value for i in found.items} == {
        "severity": "critical", "a": 'b"', "n": 3, "on": True, "tags": ("x", "y z"), "none": (), "d": "t",
    }  # fmt: skip


# -------------------------------------------------------------------------------- expressions
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0xfF_0", 0xFF0),
        ("10_000", 10_000),
        ("1.5ms", 1_500_000),
        ("2µs", 2000),
        ("2μs", 2000),
        ("64KiB", 65536),
        ("true", True),
        ('"a\\tb\\\\"', r"'a\tb\\'"),
        ("in.prio", "in.prio"),
        ("key", "key"),
        ("ev.timeout.in", "ev.timeout.in"),
        ("a or b and c", ("or", "a", ("and", "b", "c"))),
        ("a || b && !c", ("or", "a", ("and", "b", ("not", "c")))),
        ("not a == b", ("not", ("==", "a", "b"))),
        ("a & b == c", ("==", ("&", "a", "b"), "c")),
        ("a | b << 2 + 3 * 4", ("|", "a", ("<<", "b", ("+", 2, ("*", 3, 4))))),
        ("a - b - c", ("-", ("-", "a", "b"), "c")),
        ("a - (b - c)", ("-", "a", ("-", "b", "c"))),
        ("-a * ~b", ("*", ("-", "a"), ("~", "b"))),
        ("a one of [1, X,]", ("one of", "a", [1, "X"])),
        ("a one of b.C", ("one of", "a", "b.C")),
        ("a has B | C", ("has", "a", ("|", "B", "C"))),
        ('a =~ "x*"', ("=~", "a", "'x*'")),
        ("a !~ b.c", ("!~", "a", "b.c")),
        ("f(1, g())", ("f", 1, ("g",))),
        ("if(a, b, c)", ("if", "a", "b", "c")),
        ("a[1][2].b.c", ("[]", ("[]", "a", 1), 2, "b", "c")),
    ],
)
def test_expression(text: str, found: Any) -> None:
    node = expression(text)
    assert shape(node) == found
    assert node.span.text == text


def test_parentheses_belong_to_the_place_of_what_they_hold() -> None:
    node = expression("(a + b) * 2")
    assert node.left.span.text == "(a + b)"


@pytest.mark.parametrize(
    "word", ["range", "keep", "count", "log2", "by", "per", "alert", "meta", "message", "rate", "no"]
)
def test_soft_words_may_be_fields(word: str) -> None:
    (rule,) = items(f"in e key {word} where {word} > 1 capture {word}, out f key {word}")
    assert shape(rule.clauses[0].modifiers[0].items[0].expr) == word


# ------------------------------------------------------------------------- texts of any kind
def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.lt"
    path.write_bytes(b"\xef\xbb\xbf# c\r\nin a key x,\r\n  out b key y\r\n")
    file, diagnostics = parse(read_source(path))
    assert not diagnostics
    clauses = file.items[0].clauses  # type: ignore[union-attr]
    assert [(c.span.line, c.span.column) for c in clauses] == [(2, 1), (3, 3)]
    path.write_bytes(b"# c\r\nin a key x,\r\n  out b key 5q\r\n")
    _, (diagnostic,) = parse(read_source(path))
    assert (diagnostic.span.line, diagnostic.span.column, diagnostic.span.text) == (3, 14, "q")
