"""The reference meaning of rules: an interpreter over events, which knows nothing of BPF.

What it does is what rules mean, and it depends on the events alone. Events come in the order of time; between two of
them the clock passes the deadlines of what is pending, so that a timeout is told, and a measurement dropped, exactly
when it is due. An engine that looks only now and then must come to the same reports, only later.

Two things an engine may do otherwise. A measurement is refused here if `inflight` others are pending; a table may find
room for more, or none for a few. And what `rate` holds back depends on when reports are made: for a timeout, that is
its deadline here.
"""

from __future__ import annotations

from collections import Counter
from heapq import heapify, heappop, heappush
from itertools import count

from ltrules import model
from ltrules.alert import Alert, Scalar, Stats
from ltrules.errors import InputError
from ltrules.semantics.reading import Unfit
from ltrules.semantics.rule import Measurement, RuleState, Step, steps
from ltrules.semantics.watching import Watch, watched
from ltrules.traces import TraceEvent

__all__ = ["Reference", "Watch"]

#: Deadlines of measurements that have ended are thrown away when there are so many deadlines.
_TIDY = 4096


class Reference:
    """Rules at work on events. `wall_offset_ns` leads from the time of the events to ns since the epoch.

    `gaps` counts, by a sentence, the events that lack what a rule reads of them: it read 0, or "". `watch` is told what
    each clause did at each event.
    """

    name = "replay"

    def __init__(self, rules: model.RuleSet, wall_offset_ns: int = 0, watch: Watch | None = None) -> None:
        """Raise InputError if the expressions of a rule are too much."""
        params: dict[str, Scalar] = {p.name: p.value for p in rules.params}
        self.gaps: Counter[str] = Counter()
        self._alerts: list[Alert] = []
        self._now = 0
        self._deadlines: list[tuple[int, int, RuleState, Measurement]] = []
        self._numbers = count()
        self._tidy = _TIDY
        self._steps: dict[str, list[Step]] = {}
        try:
            self._states = [RuleState(r, params, self._wake, self._tell, wall_offset_ns) for r in rules.rules]
            for state in self._states:
                for handler, step in steps(state, params):
                    at = self._steps.setdefault(handler.event.full_name, [])
                    at.append(step if watch is None else watched(step, state, handler, watch))
        except (SyntaxError, MemoryError, RecursionError):
            # Of what the parser takes, macros that use macros can make more than Python reads.
            raise InputError("an expression of the rules is nested too deeply to be replayed") from None

    def feed(self, event: TraceEvent) -> list[Alert]:
        """Return what is reported up to and at an event; alerts are in the order of time."""
        time_ns = event.time_ns
        if time_ns > self._now:
            self._now = time_ns
            if self._deadlines and self._deadlines[0][0] < time_ns:
                self._pass()
        for run, reading in self._steps.get(event.name, ()):
            try:
                key = reading.match(event)
            except Unfit:
                event, key = reading.mend(event, self.gaps)
            if key is not None:
                run(key, reading, event)
        return self._take() if self._alerts else []

    def advance(self, time_ns: int) -> list[Alert]:
        """Return what is overdue now that the clock reads `time_ns`, in the order of deadlines."""
        self._now = max(self._now, time_ns)
        self._pass()
        return self._take()

    def finish(self) -> list[Alert]:
        """Return what is left to report when no event follows. What still lives stays pending, as it does in a run."""
        self._pass()
        return self._take()

    def stats(self) -> Stats:
        """Return the numbers up to now."""
        return Stats(self.name, tuple(state.stats() for state in self._states), {})

    # ------------------------------------------------------------------------------ deadlines
    def _wake(self, time_ns: int, state: RuleState, measurement: Measurement) -> None:
        heappush(self._deadlines, (time_ns, next(self._numbers), state, measurement))
        if len(self._deadlines) > self._tidy:
            self._deadlines = [d for d in self._deadlines if d[2].pending.get(d[3].key) is d[3]]
            heapify(self._deadlines)
            self._tidy = 2 * len(self._deadlines) + _TIDY

    def _pass(self) -> None:
        """Attend to all deadlines that the clock has passed; one that it has just reached is not passed."""
        while self._deadlines and self._deadlines[0][0] < self._now:
            _, _, state, measurement = heappop(self._deadlines)
            if state.pending.get(measurement.key) is measurement:
                state.overdue(measurement)

    # --------------------------------------------------------------------------------- alerts
    def _tell(self, alert: Alert) -> None:
        self._alerts.append(alert)

    def _take(self) -> list[Alert]:
        if not self._alerts:
            return []
        alerts, self._alerts = self._alerts, []
        return alerts
