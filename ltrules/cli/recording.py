"""What `record` and `run --record` share: from a session's ring buffer to a file, with what is missing."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from typing import BinaryIO

from bpf_codegen import plan
from ltrules import __version__
from ltrules.engines.libbpf import LibbpfSession
from ltrules.engines.rings import BATCH
from ltrules.model import RuleSet
from ltrules.traces.anonymise import Anonymiser, known_texts
from ltrules.traces.writer import Column, Columns, Sort, TraceWriter

#: Batches written before somebody else has a turn.
_MOST_BATCHES = 128
#: How often the kernel is asked for the events that it kept from our programs.
_ASK_NS = 1_000_000_000


class Recorder:
    """Writes the events of a session that records, as they come.

    `take` is to be called each `period` seconds: no event wakes us.
    """

    period = 0.02

    def __init__(
        self, session: LibbpfSession, rules: RuleSet, out: BinaryIO, name: str, *, anonymous: bool = False
    ) -> None:
        """Write the header; `name` is the file's. Raises InputError, as all methods do, if it cannot be written."""
        assert session.recorded is not None
        self._session = session
        self._recorded = session.recorded
        self.columns = columns(session.plan)
        self._writer = TraceWriter(out, name, self.columns, Anonymiser(known_texts(rules)) if anonymous else None)
        self._unrecorded: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self._ask_again_ns = 0
        system = os.uname()
        self._writer.header(
            {
                "ltrules": __version__,
                "kernel": system.release,
                "arch": system.machine,
                "wall_offset_ns": time.time_ns() - time.monotonic_ns(),
                "start": session.started_ns,
                "rules": [rule.name for rule in rules.rules],
                "anonymised": anonymous,
            }
        )

    @property
    def counts(self) -> dict[str, int]:
        """Return how many events were written, by event."""
        return {c.event: n for c, n in zip(self.columns, self._writer.counts, strict=True)}

    def take(self) -> None:
        """Write what was recorded since the last time."""
        reached, more = self._read()
        for _ in range(_MOST_BATCHES):
            if not more:
                break
            reached, more = self._read()
        self._note_losses(now := time.monotonic_ns(), ask=now >= self._ask_again_ns)
        self._writer.release(reached)

    def finish(self) -> None:
        """Write the rest, once the session has stopped, and the last line."""
        while self._read()[1]:
            pass
        end = self._session.stopped_ns
        self._note_losses(end, ask=True)
        self._writer.end(end, {"unrecorded": dict(self._unrecorded), "missed": dict(self._missed)})

    def losses(self) -> list[str]:
        """Return what is missing in the file, in words; empty if nothing is."""
        said = [
            f"{event}: {_events(count)} not recorded, they came faster than they were written; raise --buffer"
            for event, count in self._unrecorded.items()
        ]
        said += [
            f"{event}: {_events(count)} missed, another program ran on that CPU"
            for event, count in self._missed.items()
        ]
        return said

    def _read(self) -> tuple[int, bool]:
        """Take one batch; return the time up to which all has come, and whether there may be more."""
        rows, reached = self._recorded.read()
        self._writer.events(rows)
        return reached, len(rows) >= BATCH

    def _note_losses(self, now_ns: int, *, ask: bool) -> None:
        self._note(self._recorded.unrecorded(), self._unrecorded, now_ns)
        if ask:
            self._ask_again_ns = now_ns + _ASK_NS
            self._note(self._session.missed(), self._missed, now_ns)

    def _note(self, totals: Mapping[str, int], known: Counter[str], now_ns: int) -> None:
        for event, total in totals.items():
            if total > known[event]:
                self._writer.lost(event, total - known[event], now_ns)
                known[event] = total


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def columns(planned: plan.Plan) -> tuple[Columns, ...]:
    """Return the columns of the records of each program, by its number."""
    return tuple(_columns(program) for program in planned.programs)


def _columns(program: plan.Program) -> Columns:
    return Columns(f"{program.category}:{program.event}", tuple(map(_column, program.recorded or ())))


def _column(value: plan.FieldValue | plan.Context) -> Column:
    if value.string:
        sort = Sort.TEXT
    else:
        sort = Sort.ADDRESS if isinstance(value, plan.FieldValue) and value.sort == "pointer" else Sort.NUMBER
    return Column(value.name, sort, isinstance(value, plan.Context))
