"""Which events of a trace are wanted, by the names that it gives them."""

from __future__ import annotations

from ltrules.catalog.events import Catalog, Event
from ltrules.traces.needs import Needs
from ltrules.traces.troubles import Troubles

#: What tracers write beside tracepoints (kernel/trace/trace_entries.h), which no catalog has and no rule can wait for.
_RECORDS = frozenset(
    """bprint bputs branch context_switch func_repeats funcgraph_entry funcgraph_exit function hwlat kernel_stack
    mmiotrace_map mmiotrace_rw osnoise print raw_data timerlat tracing_mark_write user_stack wakeup""".split()
)
#: A file may hold any number of names; those beyond are not looked up in the catalog.
_MOST_NAMES = 4096


class Names:
    """Resolves names, bare or "category:event"."""

    def __init__(self, catalog: Catalog, needs: Needs, troubles: Troubles) -> None:
        self._catalog, self._needs, self._troubles = catalog, needs, troubles
        self._found: dict[str, Event | None] = {}
        self._unknown: set[str] = set()

    def wanted(self, name: str) -> Event | None:
        """Return the event of a name if it is wanted; count it if the catalog does not have it."""
        if name in self._found:
            if name in self._unknown:
                self._troubles.note_unknown_event(name)
            return self._found[name]
        if len(self._found) >= _MOST_NAMES:
            self._troubles.note_unknown_event(name)
            return None
        known = self._catalog.find(name)
        chosen = [event for event in known if event.full_name in self._needs]
        # A bare name that could be several events is none of them.
        event = chosen[0] if len(chosen) == 1 else None
        self._found[name] = event
        if len(chosen) > 1 or not (known or name in _RECORDS):
            self._unknown.add(name)
            self._troubles.note_unknown_event(name)
        return event

    def known(self, name: str) -> bool:
        """Tell whether a name was looked up, and found: there is nothing to count when it comes again."""
        return name in self._found and name not in self._unknown
