"""Put what a trace holds in time order, within a bounded window.

Tracers keep a buffer for each CPU, and some merge them late, so that events of one time are some way apart in a file.
Ordering comes before decoding, since short texts are cheaper to hold back than decoded events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

from ltrules.traces.troubles import Troubles

#: An event is put in its place if fewer than this many others stand between.
WINDOW = 1024

#: A tuple that starts with a time in ns.
_Stamped = TypeVar("_Stamped", bound=tuple[Any, ...])
_time = itemgetter(0)


def in_order(batches: Iterable[list[_Stamped]], troubles: Troubles, window: int = WINDOW) -> Iterator[_Stamped]:
    """Return an iterator over the members of all batches by time, those of one time as they came.

    One that comes after something later was handed on is handed on at once, with the time that it has, and counted.
    """
    # The generator hands on whole batches: being asked for each member would cost more than ordering them.
    return chain.from_iterable(_ordered(batches, troubles, window))


def _ordered(batches: Iterable[list[_Stamped]], troubles: Troubles, window: int) -> Iterator[list[_Stamped]]:
    waiting: list[_Stamped] = []
    last = 0
    for batch in batches:
        waiting += batch
        if len(waiting) < 2 * window:
            continue
        # Sorting what is in order already, or nearly so, is cheap.
        waiting.sort(key=_time)
        ready, waiting = waiting[:-window], waiting[-window:]
        last = _count_late(ready, last, troubles)
        yield ready
    waiting.sort(key=_time)
    _count_late(waiting, last, troubles)
    yield waiting


def _count_late(ready: list[_Stamped], last: int, troubles: Troubles) -> int:
    """Count what comes before the time that was reached; return the time that is reached with it."""
    for stamped in ready:
        if stamped[0] >= last:
            break
        troubles.late += 1
    return max(last, ready[-1][0]) if ready else last
