"""The arithmetic of the evaluator is that of the generated C: random expressions, computed by both."""

from __future__ import annotations

import random
import subprocess
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bpf_codegen import INCLUDE
from bpf_codegen.expressions import Writer
from ltrules import model
from ltrules.catalog.events import Event, Field, Shape
from ltrules.engines.compiler import find_clang
from ltrules.evaluate import apply, evaluate, is_unsigned, wrap
from ltrules.lower import lower
from ltrules.semantics.reading import read
from ltrules.traces import TraceEvent
from ltrules.types import DURATION, INT, UNSIGNED, string
from support import FixedCatalog, good_rules

MASK = (1 << 64) - 1
WIDTHS = {f"{sign}{8 * size}": (sign == "s", size) for sign in "su" for size in (1, 2, 4, 8)}
NUMBERS = Event(
    "made",
    "up",
    {
        name: Field(name, name, Shape.INT, 8 + 8 * i, size, signed)
        for i, (name, (signed, size)) in enumerate(WIDTHS.items())
    },
    record="numbers",
)
CATALOG = FixedCatalog(NUMBERS)
#: What the running context says in a run, and how the program says it.
CONTEXT = {"tid": 4_000_000, "tgid": 77, "uid": 1000, "cpu": 3, "ppid": 1234, "cgroup": 1 << 63, "mono": 5_000_000_000}
EXPRESSIONS = 120


class Generator:
    """Makes expressions of the rule language, well typed, of a bounded depth."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def any(self) -> str:
        return self.chance.choice([self.number, self.duration, self.condition])(4)

    def number(self, depth: int) -> str:
        pick = self.chance.choice
        if depth == 0 or self.chance.random() < 0.15:
            leaves = [*WIDTHS, "task.tid", "task.tgid", "task.uid", "cpu.id", "task.ppid", "cgroup.id"]
            return pick(
                [*leaves, *leaves, str(pick([0, 1, 2, 3, 7, 63, 64, 255, 1 << 31, (1 << 63) - 1, 1 << 63, MASK]))]
            )
        form = self.chance.randrange(8)
        if form == 0:
            return f"{pick('-~')}({self.number(depth - 1)})"
        if form == 1:
            return f"if({self.condition(depth - 1)}, {self.number(depth - 1)}, {self.number(depth - 1)})"
        if form == 2:
            return f"(({self.duration(depth - 1)}) / ({self.duration(depth - 1)}))"
        operator = pick(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"])
        return self.join(operator, self.number(depth - 1), self.number(depth - 1))

    def duration(self, depth: int) -> str:
        pick = self.chance.choice
        if depth == 0 or self.chance.random() < 0.2:
            return pick(["1ns", "3us", "time.mono", "5h", f"({pick(list(WIDTHS))} * 1ns)"])
        form = self.chance.randrange(5)
        if form == 0:
            return f"-({self.duration(depth - 1)})"
        if form == 1:
            return f"(({self.duration(depth - 1)}) {pick('*/')} ({self.number(depth - 1)}))"
        if form == 2:
            return f"if({self.condition(depth - 1)}, {self.duration(depth - 1)}, {self.duration(depth - 1)})"
        return f"({self.duration(depth - 1)} {pick('+-%')} {self.duration(depth - 1)})"

    def condition(self, depth: int) -> str:
        pick = self.chance.choice
        below = max(depth - 1, 0)
        form = self.chance.randrange(6)
        if form == 0 and depth:
            return f"not ({self.condition(below)})"
        if form == 1 and depth:
            return f"({self.condition(below)}) {pick(['and', 'or'])} ({self.condition(below)})"
        if form == 2:
            return f"(({self.number(below)}) has ({self.number(below)}))"
        if form == 3:
            return f"(({self.number(below)}) one of [{self.number(0)}, {self.number(below)}])"
        side = pick([self.number, self.duration])
        return f"({self.join(pick(['==', '!=', '<', '<=', '>', '>=']), side(below), side(below))})"

    def join(self, operator: str, left: str, right: str) -> str:
        """Join two sides, mostly without parentheses around them, so that precedence is tried too."""
        sides = [f"({side})" if self.chance.random() < 0.4 or " of " in side else side for side in (left, right)]
        return f"{sides[0]} {operator} {sides[1]}"

    def values(self) -> dict[str, int]:
        """Return a value for every field: often an extreme one."""
        result = {}
        for name, (signed, size) in WIDTHS.items():
            low, high = (-(1 << (8 * size - 1)), (1 << (8 * size - 1)) - 1) if signed else (0, (1 << (8 * size)) - 1)
            result[name] = self.chance.choice([low, high, 0, 1, max(low, -1), self.chance.randint(low, high)])
        return result


class Row:
    """Fields and context of one event."""

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values

    def value(self, expr: model.Expr) -> int:
        match expr:
            case model.EventField(field=field):
                return self.values[field.name]
            case model.Context(name=name):
                return CONTEXT[name]
        raise AssertionError(expr)


def program(texts: list[str], rows: list[dict[str, int]]) -> tuple[str, list[model.Expr]]:
    """Return a C program that prints the value of every expression in every row, and the typed expressions."""
    captures = ", ".join(f"v{i} = {text}" for i, text in enumerate(texts))
    rules = good_rules(f"r: in made:up key u8 capture ({captures}), out made:up key u8, hist latency", catalog=CATALOG)
    (rule,) = rules.rules
    opening = next(h for h in rule.handlers if h.role is model.Role.IN)
    planned = lower(rules, CATALOG)
    (made,) = planned.programs
    handler = next(h for h in made.handlers if h.role.value == "in")
    writer = Writer(made)
    lines = [f"\tresult[{i}] = {writer.integer(e)};\n" for i, e in enumerate(handler.saves) if e is not None]
    assert len(lines) == len(texts)
    members = "".join(f"\t{name} {name};\n" for name in WIDTHS)
    reads = "".join(f"\t{name} ev_{name} = ctx->{name};\n" for name in WIDTHS)
    data = ",\n".join(
        "\t{ " + ", ".join(f".{n} = ({n}){v & MASK:#x}ULL" for n, v in row.items()) + " }" for row in rows
    )
    return (
        f"""#include <stdio.h>
#define bpf_get_current_task real_bpf_get_current_task
#include "ltrules.bpf.h"
struct numbers {{
{members}}};
static u64 pid_tgid(void) {{ return {CONTEXT["tgid"] << 32 | CONTEXT["tid"]}ULL; }}
static u64 uid_gid(void) {{ return {5 << 32 | CONTEXT["uid"]}ULL; }}
static u32 processor(void) {{ return {CONTEXT["cpu"]}; }}
static u64 cgroup(void) {{ return {CONTEXT["cgroup"]}ULL; }}
static u32 known_parent(void) {{ return {CONTEXT["ppid"]}; }}
#define parent_tgid known_parent
static const struct numbers rows[] = {{
{data}
}};
static void compute(const struct numbers *ctx, u64 *now, u64 *result)
{{
{reads}{"".join(lines)}}}
int main(void)
{{
	u64 now = {CONTEXT["mono"]}ULL, result[{len(texts)}];
	bpf_get_current_pid_tgid = pid_tgid;
	bpf_get_current_uid_gid = uid_gid;
	bpf_get_smp_processor_id = processor;
	bpf_get_current_cgroup_id = cgroup;
	for (u32 row = 0; row < {len(rows)}; row++) {{
		compute(&rows[row], &now, result);
		for (u32 i = 0; i < {len(texts)}; i++)
			printf("%llu\\n", result[i]);
	}}
	return 0;
}}
""",
        [expr for _, expr in sorted(opening.saves)],
    )


def run_native(text: str, directory: Path) -> list[int]:
    """Compile a C program for this machine; return the numbers that it prints."""
    clang = find_clang()
    if clang is None:
        pytest.skip("clang is not installed")
    source, binary = directory / "program.c", directory / "program"
    source.write_text(text)
    # As BPF programs are compiled; at -O1 clang 14 folds one comparison in some thousands wrongly.
    subprocess.run(
        [clang, "-O2", "-w", "-std=gnu11", "-ffreestanding", "-fwrapv", "-I", INCLUDE, source, "-o", binary], check=True
    )
    done = subprocess.run([binary], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, (1 << 32) - 1))
def test_random_expressions_have_the_same_value_in_python_and_in_c(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = Generator(random.Random(seed))
    texts = [generator.any() for _ in range(EXPRESSIONS)]
    rows = [generator.values() for _ in range(6)]
    text, exprs = program(texts, rows)
    found = iter(run_native(text, tmp_path_factory.mktemp("native")))
    for row in rows:
        for written, expr in zip(texts, exprs, strict=True):
            assert int(evaluate(expr, Row(row))) & MASK == next(found), (written, row)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, (1 << 32) - 1))
def test_random_expressions_have_the_same_value_as_text(seed: int) -> None:
    """What replay makes of an expression once is worth what a walk over the tree gives, and fits its type."""
    generator = Generator(random.Random(seed))
    texts = [generator.any() for _ in range(EXPRESSIONS // 6)]
    captures = ", ".join(f"v{i} = {text}" for i, text in enumerate(texts))
    (rule,) = good_rules(
        f"r: in made:up key u8 capture ({captures}), out made:up key u8, hist latency", catalog=CATALOG
    ).rules
    opening = next(h for h in rule.handlers if h.role is model.Role.IN)
    reading = read(rule, opening, {})
    assert reading.saves is not None
    for row in (generator.values() for _ in range(6)):
        event = TraceEvent(CONTEXT["mono"], "made:up", CONTEXT["cpu"], CONTEXT, row)
        assert reading.match(event) == (row["u8"],)
        found = reading.saves(event, row, CONTEXT, (), (), 0)
        for (index, expr), value, text in zip(sorted(opening.saves, key=itemgetter(0)), found, texts, strict=True):
            assert type(value) is int
            assert value == wrap(int(evaluate(expr, Row(row))), not is_unsigned([rule.opened[index].type])), (text, row)


@pytest.mark.parametrize(
    ("operator", "x", "y", "sort", "result"),
    [
        ("+", (1 << 63) - 1, 1, INT, -(1 << 63)),
        ("+", MASK, 1, UNSIGNED, 0),
        ("-", 0, 1, UNSIGNED, MASK),
        ("/", -7, 2, INT, -3),
        ("%", -7, 2, INT, -1),
        ("/", 7, 0, INT, 0),
        ("%", 7, 0, UNSIGNED, 0),
        ("/", -(1 << 63), -1, INT, -(1 << 63)),
        ("/", MASK, 2, UNSIGNED, (1 << 63) - 1),
        ("<<", 1, 64, INT, 1),
        (">>", -8, 65, INT, -4),
        (">>", -8, 1, UNSIGNED, (MASK - 7) >> 1),
        ("<", -1, 0, INT, 1),
        ("<", -1, 0, UNSIGNED, 0),
        ("==", -1, MASK, UNSIGNED, 1),
        ("*", 3_600_000_000_000, 2, DURATION, 7_200_000_000_000),
    ],
)
def test_arithmetic_is_that_of_the_language(operator: str, x: int, y: int, sort: object, result: int) -> None:
    assert apply(operator, [x, y], [sort, sort]) == result  # type: ignore[list-item]


@given(st.integers(), st.booleans())
def test_wrap_keeps_64_bits(value: int, signed: bool) -> None:
    wrapped = wrap(value, signed)
    assert (wrapped - value) % (1 << 64) == 0
    assert -(1 << 63) * signed <= wrapped < 1 << (63 if signed else 64)


def test_strings_are_equal_or_not() -> None:
    sort = string(16)
    assert apply("==", ["a", "a"], [sort, sort]) == 1
    assert apply("!=", ["a", "a"], [sort, sort]) == 0
    assert apply("!=", ["a", "b"], [sort, sort]) == 1


def test_if_has_the_type_of_both_its_values() -> None:
    choice = model.Operation(
        UNSIGNED, "if", (model.Constant(INT, 1), model.Constant(INT, -1), model.Constant(UNSIGNED, 1))
    )
    assert evaluate(choice, Row({})) == MASK
