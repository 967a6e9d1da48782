"""Recorded events, whatever file they come from.

`open_trace` tells the format by the content and returns a `Trace`, which iterates over `TraceEvent`s in time order.
Nothing in a file makes a reader fail: what it cannot read it counts, in `Trace.troubles`.
"""

from ltrules.traces.event import TraceEvent
from ltrules.traces.needs import Need, needs_of
from ltrules.traces.opening import Trace, open_trace
from ltrules.traces.troubles import Troubles

__all__ = ["Need", "Trace", "TraceEvent", "Troubles", "needs_of", "open_trace"]
