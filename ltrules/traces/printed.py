"""Events as their print texts write them: payloads back to fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ltrules.alert import Scalar
from ltrules.catalog.events import Event, Shape
from ltrules.traces import cexpr, inverse
from ltrules.traces.cexpr import Node, Ref, Unknown
from ltrules.types import Kind, Type

_FORMAT = re.compile(r'\s*((?:"(?:[^"\\]|\\.)*"\s*)+)$', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
#: As of Documentation/core-api/printk-formats.rst; the letters and digits after %p belong to it.
_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>[0-9]*|\*)(?:\.(?P<precision>[0-9]*|\*))?(?:hh|h|ll|l|z|t|j|L|q)?"
    r"(?P<what>[diouxXcs%]|p[A-Za-z0-9]*)"
)
_PLAIN_POINTERS = ("p", "px", "pK")
#: What a number looks like, and its base.
_NUMBERS = {
    **dict.fromkeys(("d", "i", "u"), (r"[+]?-?[0-9]{1,20}", 10)),
    **dict.fromkeys(("x", "X", *_PLAIN_POINTERS), (r"(?:0[xX])?[0-9a-fA-F]{1,16}", 16)),
    "o": (r"[0-7]{1,22}", 8),
    "c": (r".", 0),
}
#: A text with a single string may have a path in it; several long ones would take too long to tell apart.
_LONG, _SHORT = 4096, 255


@dataclass(frozen=True, slots=True)
class _Argument:
    """A conversion whose argument tells of fields that are wanted; `base` is that of a number, 0 for a text."""

    node: Node
    base: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which an event is printed; `wanted` are the types of fields, `bits` what must be known of each.

    The two patterns take the shortest text first, and the longest: where they agree, there is but one way to read it.
    """

    patterns: tuple[re.Pattern[str], re.Pattern[str]]
    arguments: tuple[_Argument, ...]
    wanted: Mapping[str, Type]
    bits: Mapping[str, int]

    def fields(self, payload: str) -> dict[str, Scalar] | None:
        """Return the wanted fields that a payload tells, None if it is not printed this way, or not clearly."""
        found, other = (pattern.fullmatch(payload) for pattern in self.patterns)
        if found is None or other is None or found.groups() != other.groups():
            return None
        values: dict[str, Scalar] = {}
        parts: dict[str, tuple[int, int]] = {}
        for argument, text in zip(self.arguments, found.groups(), strict=True):
            match _piece(argument, text):
                case (name, told) if name in self.wanted and self.wanted[name].kind is Kind.STRING:
                    values[name] = fitting(told, self.wanted[name])
                case inverse.Piece(field=name, value=value, known=known) if name in self.wanted:
                    have, bits = parts.get(name, (0, 0))
                    parts[name] = have | value, bits | known
        for name, (value, known) in parts.items():
            kind = self.wanted[name]
            if kind.kind is not Kind.STRING and not self.bits.get(name, inverse.ALL) & ~known:
                values[name] = as_field(value, kind)
        return values


def layout(print_text: str, event: Event, wanted: Mapping[str, Type], bits: Mapping[str, int]) -> Layout | None:
    """Return how a print text writes an event, None if it is not understood.

    `bits` says what must be known of a field to know it all, where that is less than all its bits.
    """
    parts = _parts(print_text)
    if not parts:
        return None
    free = sum(part.what == "s" or part.what not in ("", *_NUMBERS) for part in parts)
    longest = _LONG if free <= 1 else _SHORT
    shortest_first, longest_first, arguments = "", "", []
    for part in parts:
        before = re.escape(part.before)
        if not part.what:
            before = f"{re.escape(part.before.rstrip())} *"  # spaces at the end of lines get lost
        short, long, base = _inside(part, event, longest)
        group = "(?:"
        if inverse.shown(part.node).keys() & wanted.keys():
            arguments.append(_Argument(part.node, base))
            group = "("
        padding = " *" if part.padded else ""
        shortest_first += f"{before}{padding}{group}{short}){padding}"
        longest_first += f"{before}{padding}{group}{long}){padding}"
    patterns = re.compile(shortest_first, re.DOTALL), re.compile(longest_first, re.DOTALL)
    return Layout(patterns, tuple(arguments), wanted, bits)


def conversions(print_text: str) -> Iterator[tuple[Node, int]]:
    """Iterate over the arguments that a print text writes as numbers, with the base of each."""
    for part in _parts(print_text):
        base = _NUMBERS.get(part.what, ("", 0))[1]
        if base:
            yield part.node, base


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of plain text, and the conversion after it; `what` is empty at the end."""

    before: str
    what: str
    padded: bool
    node: Node


def _parts(print_text: str) -> list[_Part]:
    """Return a print text in parts; none if it is not understood."""
    first, *rest = cexpr.arguments(print_text)
    quoted = _FORMAT.match(first)
    if quoted is None:
        return []
    text = "".join(map(cexpr.unquoted, _STRING.findall(quoted[1])))
    nodes = iter([cexpr.parse(each) for each in rest])
    parts, before, at = [], "", 0
    for found in _CONVERSION.finditer(text):
        before += text[at : found.start()]
        at = found.end()
        if found["what"] == "%":
            before += "%"
            continue
        for star in (found["width"], found["precision"]):
            if star == "*":
                next(nodes, None)
        padded = bool(found["width"] or found["flags"])
        parts.append(_Part(before, found["what"], padded, next(nodes, Unknown())))
        before = ""
    return [*parts, _Part(before + text[at:], "", False, Unknown())]


def _inside(part: _Part, event: Event, longest: int) -> tuple[str, str, int]:
    """Return two patterns of a conversion, the shortest match first and the longest, and its base; 0 for a text."""
    if not part.what:
        return "", "", 0
    if part.what in _NUMBERS:
        number, base = _NUMBERS[part.what]
        return f"{number}?" if base else number, number, base
    short, long = (inverse.language(part.node, lazy) for lazy in (True, False))
    if short is not None and long is not None and part.what == "s":
        return short, long, 0
    field = event.fields.get(part.node.name) if isinstance(part.node, Ref) else None
    if field is not None and field.shape is Shape.STRING:
        longest = min(longest, field.size - 1)
    if part.padded:  # spaces at its ends are not its own
        return rf"(?:\S(?:.{{0,{longest}}}?\S)??)??", rf"(?:\S(?:.{{0,{longest}}}\S)?)?", 0
    return f".{{0,{longest}}}?", f".{{0,{longest}}}", 0


def _piece(argument: _Argument, text: str) -> inverse.Piece | tuple[str, str] | None:
    if argument.base:
        value = as_number(text, argument.base)
        return None if value is None else inverse.of_number(argument.node, value)
    if isinstance(argument.node, Ref) and (address := inverse.hexadecimal(text)) is not None:
        return inverse.of_number(argument.node, address)  # %ps of an address without a symbol
    return inverse.of_text(argument.node, text)


def as_number(digits: str, base: int) -> int | None:
    """Return a number, None if 64 bits cannot hold it."""
    value = int(digits, base)
    return value if -(1 << 63) <= value < 1 << 64 else None


def as_field(value: int, kind: Type) -> int:
    """Return a number as a field of a type holds it."""
    bits = 8 * kind.size
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind.signed and value >> bits - 1 else value


def fitting(text: str, kind: Type) -> str:
    """Return a text as far as a string of a type has room for it, which is what rules see of it on a live kernel."""
    if len(text) < kind.size // 4:
        return text
    return text.encode("utf-8", "surrogatepass")[: kind.size - 1].decode("utf-8", "ignore")


def shown_bits(print_text: str) -> dict[str, int]:
    """Return which bits of each field a print text tells."""
    found: dict[str, int] = {}
    for each in cexpr.arguments(print_text)[1:]:
        for name, bits in inverse.shown(cexpr.parse(each)).items():
            found[name] = found.get(name, 0) | bits
    return found
