"""Print texts run backwards: printed as the kernel would, every event of the shipped catalog gives its fields back."""

from __future__ import annotations

import operator
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.catalog.events import Event, Field, Shape
from ltrules.catalog.machine import shipped_catalog
from ltrules.traces import cexpr
from ltrules.traces.cexpr import Call, Node, Number, Ref, Text, Unknown, Word
from ltrules.traces.plugins import PLUGIN_TEXTS
from ltrules.traces.printed import as_field, fitting, layout, shown_bits
from ltrules.types import INT, Kind, Type, string
from support import CATALOG
from trace_support import whole

MASK = (1 << 64) - 1
Values = Mapping[str, int | str]


class CannotPrintError(Exception):
    """The test's own printer does not know this construct."""


def number(node: Node, values: Values) -> int:
    """Compute an expression as C does, unsigned."""
    match node:
        case Number(value=value):
            return value
        case Ref(name=name) if isinstance(values.get(name), int):
            return int(values[name]) & MASK
        case Call(name="?", arguments=(condition, yes, no)):
            return number(yes if number(condition, values) else no, values)
        case Call(name="!", arguments=(inner,)):
            return int(not number(inner, values))
        case Call(name="-" | "~" as sign, arguments=(inner,)):
            return (-number(inner, values) if sign == "-" else ~number(inner, values)) & MASK
        case Call(name=sign, arguments=(left, right)) if sign in OPERATORS:
            return OPERATORS[sign](number(left, values), number(right, values)) & MASK
    raise CannotPrintError


OPERATORS: dict[str, Callable[[int, int], int]] = {
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "+": operator.add,
    "-": operator.sub,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "*": operator.mul,
    "<<": lambda a, b: a << (b & 63),
    ">>": lambda a, b: a >> (b & 63),
    "&&": lambda a, b: bool(a and b),
    "||": lambda a, b: bool(a or b),
}


def text(node: Node, values: Values) -> str:
    """Print an argument of %s as trace_print_flags_seq() and trace_print_symbols_seq() do."""
    match node:
        case Text(text=constant):
            return constant
        case Ref(name=name) if isinstance(values.get(name), str):
            return str(values[name])
        case Call(name="__get_str" | "__get_rel_str", arguments=(Word(name=name),)):
            return str(values[name])
        case Call(name="?", arguments=(condition, yes, no)):
            return text(yes if number(condition, values) else no, values)
        case Call(name="__print_symbolic", arguments=(inner, *entries)):
            value = number(inner, values)
            return next((name for bits, name in table(entries) if bits == value), hex(value))
        case Call(name="__print_flags", arguments=(inner, Text(text=separator), *entries)):
            value, names = number(inner, values), []
            for bits, name in table(entries):
                if bits and value & bits == bits:
                    names.append(name)
                    value &= ~bits
            return separator.join([*names, hex(value)] if value else names)
    raise CannotPrintError


def table(entries: list[Node]) -> list[tuple[int, str]]:
    found = [(e.arguments[0], e.arguments[1]) for e in entries if isinstance(e, Call) and len(e.arguments) == 2]
    if len(found) < len(entries) or not all(isinstance(n, Number) and isinstance(t, Text) for n, t in found):
        raise CannotPrintError
    return [(n.value, t.text) for n, t in found if isinstance(n, Number) and isinstance(t, Text)]


def printed(print_text: str, event: Event, values: Values) -> str:
    """Print an event."""
    first, *rest = cexpr.arguments(print_text)
    arguments = [cexpr.parse(each) for each in rest]

    def convert(found: re.Match[str]) -> str:
        if found["what"] == "%":
            return "%"
        if "*" in found[0]:
            raise CannotPrintError
        node = arguments.pop(0)
        if found["what"] == "s":
            return text(node, values)
        if found["what"] not in ("d", "i", "u", "x", "X", "p"):
            raise CannotPrintError
        value = number(node, values)
        if found["what"] in "di" or found["what"] == "u":
            size = event.fields[node.name].size if isinstance(node, Ref) and node.name in event.fields else 8
            return str(as_field(value, Type(Kind.INT, found["what"] != "u", size)))
        if isinstance(node, Ref) and node.name in event.fields:
            value = as_field(value, Type(Kind.INT, False, event.fields[node.name].size))
        digits = f"{value:016x}" if found["what"] == "p" else f"{value:x}"
        if found["what"] == "X":
            digits = digits.upper()
        width = int(found["width"] or 0)
        digits = digits.rjust(width, "0" if "0" in found["flags"] else " ")
        return f"0x{digits}" if "#" in found["flags"] else digits

    conversion = re.compile(
        r"%(?P<flags>[-+ #0]*)(?P<width>\d*|\*)(?:\.(?:\d*|\*))?(?:hh|h|ll|l|z|t|j|L|q)?(?P<what>[diouxXcs%]|p\w*)"
    )
    if not first.strip().startswith('"') or first.count('"') != 2:
        raise CannotPrintError
    return conversion.sub(convert, cexpr.unquoted(first.strip()))


def drawn(event: Event, source: random.Random) -> dict[str, int | str]:
    """Draw values for all fields: small ones, single bits, symbols, and any."""
    values: dict[str, int | str] = {}
    for name, kind in whole(event).items():
        if kind.kind is Kind.STRING:
            longest = min(
                kind.size - 1, event.fields[name].size - 1 if event.fields[name].shape is Shape.STRING else 12
            )
            values[name] = "".join(source.choice("ab-/:. _0+=>") for _ in range(source.randrange(longest + 1))).strip()
            continue
        symbols = list(event.fields[name].symbols) if name in event.fields else []
        choices = [0, 1, source.randrange(20), 1 << source.randrange(64), source.getrandbits(64), *symbols[:40]]
        values[name] = as_field(source.choice(choices), kind)
    return values


EVENTS = [event for name in shipped_catalog().names() for event in shipped_catalog().find(name) if event.print_text]


def test_what_every_event_prints_is_read_back_as_it_was() -> None:
    source = random.Random(20)
    counts: Counter[str] = Counter()
    for event in EVENTS:
        wanted, shown = whole(event), shown_bits(event.print_text)
        way = layout(event.print_text, event, wanted, shown)
        for _ in range(3 if way is not None and wanted else 0):
            values = drawn(event, source)
            # Bits that no argument prints cannot come back.
            for name, kind in wanted.items():
                if isinstance(value := values[name], int) and name in shown:
                    values[name] = as_field(value & shown[name], kind)
            try:
                payload = printed(event.print_text, event, values)
            except CannotPrintError:
                break
            found = way.fields(payload) if way is not None else None
            counts["printed"] += 1
            if found is not None:
                expected = {n: fitting(v, wanted[n]) if isinstance(v, str) else v for n, v in values.items()}
                wrong = {name: (value, expected[name]) for name, value in found.items() if value != expected[name]}
                assert not wrong, (event.full_name, payload, wrong)
                counts.update(read=1, whole=len(found) == len(wanted), fields=len(found), all_fields=len(wanted))
    assert counts["printed"] > 5000
    assert counts["read"] > 0.95 * counts["printed"]
    assert counts["fields"] > 0.8 * counts["all_fields"]


SWITCH = CATALOG.find("sched_switch")[0]
STATES = {"prev_state": INT}


def state(print_text: str, letters: str) -> int | str | None:
    way = layout(print_text, SWITCH, STATES, shown_bits(SWITCH.print_text))
    assert way is not None
    middle = "prev_state={} ==>" if "prev_comm=" in print_text else "{} ==>"
    payload = printed(print_text, SWITCH, {**drawn(SWITCH, random.Random(1)), "prev_state": 1, "prev_comm": "a b"})
    assert middle.format("S") in payload
    found = way.fields(payload.replace(middle.format("S"), middle.format(letters)))
    return None if found is None else found.get("prev_state")


@pytest.mark.parametrize(
    ("letters", "value"),
    [
        ("R", 0),
        ("R+", 256),
        ("S", 1),
        ("D", 2),
        ("D+", 258),
        ("I", 128),
        ("S|Z", 33),
        ("Q", None),
        ("S+x", None),
    ],
)
def test_how_a_task_was_switched_out_is_read_from_its_letters(letters: str, value: int | None) -> None:
    assert state(SWITCH.print_text, letters) == value


@pytest.mark.parametrize(("letters", "value"), [("R", None), ("S", None), ("D", None)])
def test_plugins_do_not_tell_all_of_it(letters: str, value: int | None) -> None:
    assert state(PLUGIN_TEXTS["sched:sched_switch"], letters) == value


def read_one(print_text: str, payload: str, **kinds: Type) -> Mapping[str, int | str] | None:
    """Read one payload of an event made up here, with fields of these types."""
    fields = {
        name: Field(name, "x", Shape.STRING if kind.kind is Kind.STRING else Shape.INT, 0, kind.size, kind.signed)
        for name, kind in kinds.items()
    }
    event = Event("a", "b", fields, print_text=print_text)
    way = layout(print_text, event, kinds, shown_bits(print_text))
    return None if way is None else way.fields(payload)


U8, U32, S32 = (Type(Kind.INT, signed, size) for signed, size in ((False, 1), (False, 4), (True, 4)))
NAME = string(16)
FLAGS = '"%s", REC->f ? __print_flags(REC->f, "|", { 1 << 1, "A" }, { 4, "B" }) : "none"'


@pytest.mark.parametrize(
    ("print_text", "payload", "kinds", "fields"),
    [
        ('"%d,%d", ((unsigned int) ((REC->x) >> 20)), REC->x & ((1U << 20) - 1)', "8,1", {"x": U32}, {"x": 0x800001}),
        ('"%d", ((unsigned int) ((REC->dev) >> 20))', "8", {"dev": U32}, {"dev": 8 << 20}),
        ('"%d", REC->x & 1', "1", {"x": U32}, {"x": 1}),
        ('"%s", REC->ret ? "handled" : "unhandled"', "unhandled", {"ret": S32}, {"ret": 0}),
        ('"%s", REC->ret ? "handled" : "unhandled"', "handled", {"ret": S32}, {}),
        ('"%s", REC->x == 3 ? "a" : "b"', "a", {"x": U32}, {"x": 3}),
        ('"%s", REC->x == 3 ? "a" : "b"', "b", {"x": U32}, {}),
        ('"%s", !(REC->x) ? "a" : "b"', "a", {"x": U32}, {"x": 0}),
        ('"%s", __print_symbolic(REC->x, { 1, "a" }, { 2, "a" }, { 3, "c" })', "a", {"x": U32}, {}),
        ('"%s", __print_symbolic(REC->x, { 1, "a" }, { 2, "a" }, { 3, "c" })', "c", {"x": U32}, {"x": 3}),
        ('"%s", __print_symbolic(REC->x, { 1, "a" })', "0x1f", {"x": U32}, {"x": 31}),
        ('"%s", __print_symbolic(REC->x, { 1, "a" })', "b", {"x": U32}, None),
        ('"%s", __print_symbolic(REC->x, { SOME_NAME, "a" })', "a", {"x": U32}, {}),
        (FLAGS, "A|B|0x20", {"f": U32}, {"f": 38}),
        (FLAGS, "none", {"f": U32}, {"f": 0}),
        ('"%d%d", REC->x, REC->y', "123", {"x": U32, "y": U32}, None),
        ('"%d%s", REC->x, REC->n', "1a", {"x": U32, "n": NAME}, {"x": 1, "n": "a"}),
        ('"%d%s", REC->x, REC->n', "12", {"x": U32, "n": NAME}, None),
        ('"%s %s", REC->n, REC->m', "a b", {"n": NAME, "m": NAME}, {"n": "a", "m": "b"}),
        ('"%s %s", REC->n, REC->m', "a b c", {"n": NAME, "m": NAME}, None),
        ('"%-8s|%3d", REC->n, REC->x', "a b     |  7", {"n": NAME, "x": U8}, {"n": "a b", "x": 7}),
        ('"n=%s x=%d", REC->n, REC->x', "n=a x=1 x=2", {"n": NAME, "x": U32}, {"n": "a x=1", "x": 2}),
        ('"%d", REC->x', "-1", {"x": S32}, {"x": -1}),
        ('"%u", REC->x', "4294967295", {"x": S32}, {"x": -1}),
        ('"%lx", REC->x', "ffffffffffffffff", {"x": U8}, {"x": 255}),
        ('"%p", REC->x', "00000000ec87ea0a", {"x": Type(Kind.INT, False, 8)}, {"x": 0xEC87EA0A}),
        ('"%ps", REC->x', "0xffffffff81000000", {"x": Type(Kind.INT, False, 8)}, {"x": 0xFFFFFFFF81000000}),
        ('"%ps", REC->x', "some_function", {"x": Type(Kind.INT, False, 8)}, {}),
        ('"%d", REC->x + 1', "8", {"x": U32}, {"x": 7}),
        ('"%d", REC->x * 2', "8", {"x": U32}, {}),
        ('"%d", (int)(REC->x) - 1', "8", {"x": U32}, {"x": 9}),
        ('"100%% %d", REC->x', "100% 5", {"x": U32}, {"x": 5}),
        ('"%*d %d", 5, REC->y, REC->x', "    1 5", {"x": U32}, {"x": 5}),
        ('"%s", __get_str(n)', "it", {"n": NAME}, {"n": "it"}),
        ('"%d", ({ int x = 1; REC->x; })', "5", {"x": U32}, {}),
        ('"%d"', "5", {"x": U32}, {}),
        ("REC->x", "5", {"x": U32}, None),
        ("", "5", {"x": U32}, None),
        ('"%d', "5", {"x": U32}, None),
    ],
)  # fmt: skip
def test_what_a_text_tells_and_what_it_does_not(
    print_text: str, payload: str, kinds: dict[str, Type], fields: dict[str, int | str] | None
) -> None:
    assert read_one(print_text, payload, **kinds) == fields


PIECES = st.sampled_from(
    """" %d %s %*.*s %pS REC->x REC->x[ ( ) { } [ ] , ? : << >> & - ~ ! 0x1f 08 1 99999999999999999999 __print_flags(
    __print_symbolic(REC->x, {1,"a"} \\ sizeof(int) (u64) 'a' \u00e9""".split()
)


@given(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_print_text_is_understood_or_not(print_text: str, payload: str) -> None:
    found = read_one(print_text, payload, x=U32)
    assert found is None or all(type(value) is int for value in found.values())
    assert read_one(f'"%d", {print_text}', payload, x=U32) is None or payload.strip("-").isalnum()


def test_deep_expressions_are_not_understood() -> None:
    assert isinstance(cexpr.parse("(" * 10_000 + "1" + ")" * 10_000), Unknown)
    assert isinstance(cexpr.parse("-" * 10_000 + "1"), Unknown)
    assert cexpr.parse("-1") == Number(MASK)


def test_strings_are_cut_as_on_a_live_kernel() -> None:
    assert fitting("x" * 100, string(64)) == "x" * 63
    assert fitting("\u00e9" * 40, string(64)) == "\u00e9" * 31
    assert fitting("short", string(64)) == "short"
