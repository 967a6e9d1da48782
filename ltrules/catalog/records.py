"""Classic records of tracepoints (`trace_event_raw_*`) as BTF has them: their fields, and whose they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from itertools import takewhile

from ltrules.catalog.btf import Btf, Kind, Member
from ltrules.catalog.events import Field, Shape

PREFIX = "trace_event_raw_"
_LOCATION = "__data_loc_"
_ALIGNMENT = 8

#: Name, offset and size of each field.
_Layout = list[tuple[str, int, int]]


class Records:
    """The records of one kernel."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._layouts: dict[str, _Layout | None] = {}

    def fields(self, record: str, hints: Mapping[str, Field]) -> dict[str, Field] | None:
        """Return the fields of a record, or None if BTF has no such struct.

        `hints` are the fields as told elsewhere: BTF has neither symbols nor the type of what a `__data_loc` points to.
        """
        members = self.btf.members(record)
        if not members or members[0].name != "ent":
            return None
        fields: dict[str, Field] = {}
        for member in members[1:]:
            if member.name == "__data":
                break
            name = member.name.removeprefix(_LOCATION)
            fields[name] = _field(member, name, hints.get(name))
        return fields

    def of_event(self, event: str, fields: Mapping[str, Field]) -> str | None:
        """Return the record of an event whose fields are known, or None.

        A record of the event's own name is its own. Events of a class share a record, which BTF does not tie to them:
        it is one of the same layout, with the same arguments where possible, which is not another event's own; the
        rest of the choice is by the likeness of the names.
        """
        own, layout, arguments = PREFIX + event, _layout(fields), self.btf.tracepoint(event)
        if self._layout_of(own) == layout:
            return own
        if arguments is None:  # of a module, or made by a user: its record is not in this BTF
            return None

        def rank(record: str) -> tuple[bool, bool, int, str]:
            name = record.removeprefix(PREFIX)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, event, strict=False)))
            return self.btf.tracepoint_class(name) != arguments, self.btf.tracepoint(name) is not None, -shared, name

        end = max((offset + size for _, offset, size in layout), default=_ALIGNMENT)
        near = [
            record
            for record, (count, size) in self._shapes.items()
            if count == len(layout) + 2 and end <= size < end + _ALIGNMENT  # `ent`, the fields, `__data`
        ]
        return min((record for record in near if self._layout_of(record) == layout), key=rank, default=None)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        return self.btf.structs(PREFIX)

    def _layout_of(self, record: str) -> _Layout | None:
        if record not in self._layouts:
            fields = self.fields(record, {})
            self._layouts[record] = None if fields is None else _layout(fields)
        return self._layouts[record]


def _layout(fields: Mapping[str, Field]) -> _Layout:
    return [(field.name, field.offset, field.size) for field in fields.values()]


def _field(member: Member, name: str, hint: Field | None) -> Field:
    size = member.bit_size // 8
    if member.name != name:
        if hint is not None and hint.shape in (Shape.STRING, Shape.DYNAMIC_STRING):
            return Field(name, "__data_loc char[]", Shape.DYNAMIC_STRING, member.offset, size)
        c_type = hint.c_type if hint is not None and hint.c_type.startswith("__data_loc ") else "__data_loc"
        return Field(name, c_type, Shape.OTHER, member.offset, size)
    if member.length is not None:
        shape = Shape.STRING if member.c_type.startswith("char[") and size else Shape.OTHER
        return Field(name, member.c_type, shape, member.offset, size, member.signed, element_size=member.element_size)
    is_pointer = member.kind is Kind.PTR
    is_number = is_pointer or member.kind in (Kind.INT, Kind.ENUM, Kind.ENUM64)
    shape = Shape.INT if is_number and size in (1, 2, 4, 8) else Shape.OTHER
    field = Field(name, member.c_type, shape, member.offset, size, member.signed, is_pointer)
    if hint is None or is_pointer or (hint.shape, hint.size, hint.signed) != (shape, size, field.signed):
        return field
    return dataclasses.replace(field, symbols=hint.symbols)
