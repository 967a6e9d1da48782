"""Payloads that name their fields: `comm=sh pid=17`, `dfd: 0x3, flags: 0x0`.

So `trace-cmd report -R` writes every event, ftrace the arguments of system calls, and many print texts most of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ltrules.alert import Scalar
from ltrules.catalog.events import Event
from ltrules.traces.cexpr import Ref
from ltrules.traces.printed import as_field, as_number, conversions, fitting
from ltrules.types import Kind, Type

_ELEMENT = re.compile(r"(\w+)\[([0-9]+)\]")
_NUMBER = re.compile(r"(0x[0-9a-fA-F]{1,16}|-?[0-9]{1,20}|[0-9a-f]{1,16})(?:[\s,;)\]]|$)")
_ARRAY = re.compile(r"ARRAY\[([0-9a-f]{2}(?:, [0-9a-f]{2}){0,4095})\]")
_BIG_ENDIAN = frozenset(("s390x", "ppc64", "ppc", "mips", "mips64", "sparc64", "parisc64"))


@dataclass(frozen=True, slots=True)
class _Field:
    """A field that is wanted, and under which label it stands.

    `hexadecimal` tells that the print text writes it so. `element` is (start, end, whole) in bytes for one of an array.
    """

    name: str
    label: str
    kind: Type
    hexadecimal: bool
    element: tuple[int, int, int] | None


class Fieldwise:
    """Reads the wanted fields of one event from payloads that name them."""

    def __init__(self, event: Event, wanted: Mapping[str, Type], machine: str) -> None:
        self._big = machine in _BIG_ENDIAN
        self._last = list(event.fields)[-1] if event.fields else ""
        self._fields = [_field(event, name, kind) for name, kind in wanted.items()]
        labels = "|".join(sorted(map(re.escape, event.fields), key=len, reverse=True))
        self._split = re.compile(rf"(?:^|,? )({labels})(?:=|: )").split

    def fields(self, payload: str) -> dict[str, Scalar]:
        """Return the wanted fields that a payload tells; one that it names twice is not told."""
        _, *parts = self._split(payload)
        labels = parts[::2]
        told = dict(zip(labels, parts[1::2], strict=True))
        values: dict[str, Scalar] = {}
        for field in self._fields:
            text = told.get(field.label)
            if text is None or (len(told) < len(labels) and labels.count(field.label) > 1):
                continue
            if field.kind.kind is Kind.STRING and labels[-1] == field.label != self._last:
                continue  # a name with the end of a line in it: the rest is lost
            value = self._value(field, text)
            if value is not None:
                values[field.name] = value
        return values

    def _value(self, field: _Field, text: str) -> Scalar | None:
        if field.kind.kind is Kind.STRING:
            return fitting(text.rstrip(), field.kind)
        if field.element is not None:
            return self._element(field.element, text, field.kind)
        found = _NUMBER.match(text)
        if found is None:
            return None
        digits = found[1]
        decimal = digits.removeprefix("-").isdecimal()
        if not decimal and not digits.startswith("0x") and not field.hexadecimal:
            return None
        if decimal and field.hexadecimal and len(digits) > 1:
            return None  # some versions of libtraceevent write such a field in hexadecimal, others in decimal
        value = as_number(digits, 10 if decimal else 16)
        return None if value is None else as_field(value, field.kind)

    def _element(self, element: tuple[int, int, int], text: str, kind: Type) -> int | None:
        found = _ARRAY.match(text)
        data = bytes.fromhex(found[1].replace(",", "")) if found else b""
        start, end, whole = element
        if len(data) != whole:
            return None
        return as_field(int.from_bytes(data[start:end], "big" if self._big else "little"), kind)


def _field(event: Event, name: str, kind: Type) -> _Field:
    found = _ELEMENT.fullmatch(name)
    array = event.fields.get(found[1]) if found else None
    if found and array is not None:
        start = int(found[2]) * array.element_size
        return _Field(name, found[1], kind, False, (start, start + array.element_size, array.size))
    hexadecimal = any(node == Ref(name) and base == 16 for node, base in conversions(event.print_text))
    return _Field(name, name, kind, hexadecimal, None)
