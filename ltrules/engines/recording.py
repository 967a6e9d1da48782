"""The events that a session records: rows from the kernel's ring buffer, and how many found it full."""

from __future__ import annotations

import functools
import struct
import sys
import time

from bpf_codegen import layout, plan
from bpf_codegen.recording import recorded_member
from ltrules.alert import Scalar
from ltrules.engines.decode import per_cpu, text_of
from ltrules.engines.programs import Programs
from ltrules.engines.rings import BATCH

#: One event: time in ns, number of its program in the plan, CPU, then what the program recorded.
Row = tuple[Scalar, ...]

_COUNT = struct.Struct("=Q")
_text = functools.lru_cache(1 << 14)(text_of)


class RecordedEvents:
    """What the programs of a plan have recorded, in the order of the ring buffer."""

    def __init__(self, programs: Programs, planned: plan.Plan) -> None:
        self._programs = programs
        self._plan = planned
        self._decoders = [_RowDecoder(program) for program in planned.programs]

    def read(self) -> tuple[list[Row], int]:
        """Return rows, at most rings.BATCH, and the time in ns up to which they are complete, but for what is delayed.

        Raises OSError.
        """
        before = time.monotonic_ns()
        records = self._programs.poll(0, "events")
        decoders = self._decoders
        rows = [decoders[int.from_bytes(r[8:12], sys.byteorder)].row(r) for r in records]
        return rows, int(rows[-1][0]) if len(rows) >= BATCH else before

    def unrecorded(self) -> dict[str, int]:
        """Return how many events found the ring buffer full since the start, by event. Raises OSError."""
        found = {}
        for number, program in enumerate(self._plan.programs):
            data = self._programs.lookup("unrecorded", number.to_bytes(4, sys.byteorder))
            found[f"{program.category}:{program.event}"] = sum(row[0] for row in per_cpu(_COUNT, data or b""))
        return found


class _RowDecoder:
    """Decodes the records of one program."""

    def __init__(self, program: plan.Program) -> None:
        members = [recorded_member(value) for value in program.recorded or ()]
        self._struct = struct.Struct(layout.event_format(members))
        self._texts = [i for i, member in enumerate(members, 3) if member.string]

    def row(self, record: bytes) -> Row:
        """Return the row of a record."""
        values: Row = self._struct.unpack(record[: self._struct.size])
        if not self._texts:
            return values
        row = list(values)
        for i in self._texts:
            row[i] = _text(row[i])
        return tuple(row)
