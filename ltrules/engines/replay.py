"""The replay session: recorded events instead of the running kernel, the reference meaning instead of BPF."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from itertools import chain, islice

from ltrules.alert import Alert, Scalar, Stats
from ltrules.model import RuleSet
from ltrules.semantics import Reference
from ltrules.traces import Trace

#: Events between two looks at the clock: some ms.
_STRIDE = 2048
#: So many alerts are handed out at once, whatever the time.
_BATCH = 512
#: No trace is of a later time, in ns since the epoch: the year 2116.
_LATEST_NS = 1 << 62


class ReplaySession:
    """Rules at work on a trace that the caller has opened; it ends with the trace, or once it made `most` alerts."""

    def __init__(self, rules: RuleSet, trace: Trace, most: int | None = None) -> None:
        self.rules = rules
        self.ended = False
        self._trace = trace
        self._events = iter(trace)
        self._left = most
        self._reference = Reference(rules, wall_offset(trace.header))

    def __enter__(self) -> ReplaySession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.ended = True

    @property
    def probes(self) -> tuple[str, ...]:
        """Return the events that are looked at."""
        return tuple(sorted({h.event.full_name for rule in self.rules.rules for h in rule.handlers}))

    def poll(self, timeout: float) -> list[Alert]:
        """Return the alerts of as many events as `timeout` seconds are enough for. Raises InputError."""
        until = time.monotonic() + timeout
        alerts: list[Alert] = []
        while not self.ended and len(alerts) < _BATCH and time.monotonic() < until:
            first = next(self._events, None)
            if first is None:
                self.ended = True
                return alerts + self._reference.advance(self._trace.end_ns or 0)
            events = chain((first,), islice(self._events, _STRIDE))
            # A loop that the interpreter does not see but for events that something is reported at.
            for reported in filter(None, map(self._reference.feed, events)):
                alerts += reported
                if self._enough(len(reported)):
                    self.ended = True
                    break
        return alerts

    def _enough(self, reported: int) -> bool:
        if self._left is None:
            return False
        self._left -= reported
        return self._left <= 0

    def stop(self) -> list[Alert]:
        """Look at no further event. There is nothing on its way."""
        self.ended = True
        return self._reference.finish()

    def stats(self) -> Stats:
        """Return the numbers up to now, and what was wrong with the trace."""
        return dataclasses.replace(self._reference.stats(), troubles=tuple(self._trace.troubles.sentences()))


def wall_offset(header: Mapping[str, Scalar]) -> int:
    """Return what leads from the clock of a trace to ns since the epoch; 0 if its header does not say."""
    offset = header.get("wall_offset_ns", 0)
    return offset if isinstance(offset, int) and 0 <= offset < _LATEST_NS else 0
