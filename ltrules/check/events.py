"""Find the events that a rule names, and choose between `else` columns."""

from __future__ import annotations

from collections.abc import Sequence

from ltrules import syntax
from ltrules.catalog.events import Catalog, Event
from ltrules.check.problems import Problems

#: Kinds of probe that are written with a prefix and whose meaning comes later.
_LATER = ("raw", "rawtp", "kprobe", "kretprobe", "fentry", "fexit", "uprobe", "uretprobe", "usdt")


class EventFinder:
    """Finds events in the catalog, each asked for once."""

    def __init__(self, catalog: Catalog, problems: Problems) -> None:
        self.catalog = catalog
        self.problems = problems
        self._known: dict[str, tuple[Event, ...]] = {}

    def find(self, probe: syntax.Probe) -> tuple[Event, ...]:
        """Return the events of a name; several if it is ambiguous. Raises Mistake for what is not a tracepoint."""
        parts = probe.text.split(":")
        if parts[0] in _LATER:
            raise self.problems.unavailable(f"the probe kind `{parts[0]}`", probe.span)
        if len(parts) > 2:
            raise self.problems.note("LT201", f"`{probe.text}` is not an event", probe.span, "write `category:name`")
        if probe.text not in self._known:
            self._known[probe.text] = self.catalog.find(probe.text)
        return self._known[probe.text]

    def choose_column(self, clauses: Sequence[syntax.EventClause]) -> int | None:
        """Return the column that all `else` lists of a rule use; None if they have none. Raises Mistake."""
        lists = [c.events for c in clauses if len(c.events.columns) > 1]
        if not lists:
            return None
        for other in lists[1:]:
            if len(other.columns) != len(lists[0].columns):
                raise self.problems.note(
                    "LT214",
                    f"`else` lists of {len(lists[0].columns)} and {len(other.columns)} columns in one rule",
                    other.span,
                    "all of them choose the same column",
                    related=[(lists[0].span, "the first list")],
                )
        for column in range(len(lists[0].columns)):
            if all(self.find(probe) for events in lists for probe in events.columns[column] if not probe.optional):
                return column
        for events in lists:
            for probe in events.columns[-1]:
                if not self.find(probe):
                    raise self._unknown(probe)
        raise AssertionError("a column without missing events was not chosen")

    def of_clause(self, clause: syntax.EventClause, column: int | None) -> list[tuple[syntax.Probe, Event]]:
        """Return the events of a clause that exist here; optional ones may be missing. Raises Mistake."""
        columns = clause.events.columns
        chosen = columns[column] if column is not None and len(columns) > 1 else columns[0]
        return [(probe, self.one(probe)) for probe in chosen if not probe.optional or self.find(probe)]

    def one(self, probe: syntax.Probe) -> Event:
        """Return the one event of a name. Raises Mistake if there is none, or more."""
        events = self.find(probe)
        if not events:
            raise self._unknown(probe)
        if len(events) > 1:
            names = " or ".join(f"`{e.full_name}`" for e in events)
            raise self.problems.note("LT207", f"`{probe.text}` is ambiguous", probe.span, f"write {names}")
        return events[0]

    def _unknown(self, probe: syntax.Probe) -> Exception:
        names = list(self.catalog.names())
        if ":" not in probe.text:
            names = [name.split(":", 1)[1] for name in names]
        return self.problems.unknown(
            "LT201",
            f"there is no event `{probe.text}`",
            probe.span,
            probe.text,
            names,
            notes=[f"(catalog: {self.catalog.description}); `ltrules events PATTERN` lists events"],
        )
