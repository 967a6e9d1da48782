"""Payloads that name their fields: `comm=sh pid=17`, `dfd: 0x3, flags: 0x0`.

So `trace-cmd report -R` writes every event, ftrace the arguments of system calls, and many print texts most of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ltrules.alert import Scalar
from ltrules.catalog.events import Event, Shape
from ltrules.traces.cexpr import Ref
from ltrules.traces.printed import as_field, conversions, fitting
from ltrules.types import Kind, Type

_ELEMENT = re.compile(r"(\w+)\[([0-9]+)\]")
_NUMBER = r"(0x[0-9a-fA-F]{1,16}|-?[0-9]{1,20}|[0-9a-f]{1,16})(?=[\s,;)\]]|$)"
_ARRAY = r"ARRAY\[([0-9a-f, ]{0,8192})\]"
_LONGEST = 4096
_BIG_ENDIAN = ("s390x", "ppc64", "ppc", "mips", "mips64", "sparc64", "parisc64")


@dataclass(frozen=True, slots=True)
class _Field:
    """How to find a field. `element` is (index, bytes of one, bytes of all) where it is one of an array."""

    name: str
    label: re.Pattern[str]
    value: re.Pattern[str]
    kind: Type
    hexadecimal: bool
    element: tuple[int, int, int] | None


class Fieldwise:
    """Reads the wanted fields of one event from payloads that name them."""

    def __init__(self, event: Event, wanted: Mapping[str, Type], machine: str) -> None:
        self._order = "big" if machine in _BIG_ENDIAN else "little"
        self._fields = [_field(event, name, kind) for name, kind in wanted.items()]

    def fields(self, payload: str) -> dict[str, Scalar] | None:
        """Return the wanted fields that a payload tells; one that it names twice is not told."""
        values: dict[str, Scalar] = {}
        for field in self._fields:
            labels = list(field.label.finditer(payload))
            found = field.value.match(payload, labels[0].end()) if len(labels) == 1 else None
            value = None if found is None else self._value(field, found[1])
            if value is not None:
                values[field.name] = value
        return values

    def _value(self, field: _Field, text: str) -> Scalar | None:
        if field.kind.kind is Kind.STRING:
            return fitting(text, field.kind)
        if field.element is not None:
            index, size, whole = field.element
            parts = text.split(", ")
            if len(parts) != whole or any(len(part) != 2 for part in parts):
                return None
            data = bytes.fromhex("".join(parts))[index * size : (index + 1) * size]
            return as_field(int.from_bytes(data, "big" if self._order == "big" else "little"), field.kind)
        if text.startswith("0x"):
            return as_field(int(text, 16), field.kind)
        decimal = text.removeprefix("-").isdecimal()
        if field.hexadecimal and decimal and len(text) > 1:
            return None  # libtraceevent writes such a field in hexadecimal or, before 1.3, in decimal
        return as_field(int(text, 10 if decimal else 16), field.kind) if decimal or field.hexadecimal else None


def _field(event: Event, name: str, kind: Type) -> _Field:
    found = _ELEMENT.fullmatch(name)
    known = event.fields.get(found[1] if found else name)
    label = re.compile(rf"(?<![\w.]){re.escape(found[1] if found else name)}(?:=|: )")
    if found and known is not None:
        return _Field(name, label, re.compile(_ARRAY), kind, False, (int(found[2]), known.element_size, known.size))
    if kind.kind is Kind.STRING:
        longest = known.size - 1 if known is not None and known.shape is Shape.STRING else _LONGEST
        labels = "|".join(map(re.escape, event.fields))
        value = re.compile(rf"(.{{0,{longest}}}?)(?=,? (?:{labels})[=:]|\s*$)")
        return _Field(name, label, value, kind, False, None)
    hexadecimal = any(node == Ref(name) and base == 16 for node, base in conversions(event.print_text))
    return _Field(name, label, re.compile(_NUMBER), kind, hexadecimal, None)
