"""What was wrong with a trace: counts, and sentences that say them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

#: A damaged or hostile file may hold any number of names; beyond these they count under one.
_MOST_NAMES = 1000
OTHERS = "(others)"
_LONGEST_NAME = 64


@dataclass(slots=True)
class Troubles:
    """Counts of one trace; they are complete once it has been read to its end.

    `malformed` counts lines that are no events: half, too long, or not of the format. `late` counts events that came
    after the reorder window had passed their time; they are delivered where they were found. `lost_marks` counts the
    places where the tracer says that it lost events, `lost` those events as far as it says how many. `unknown_events`
    counts events by name that the catalog does not have. `lacking` counts, by event and field (or "task.tid" and the
    like), how often an event came without what the rules read, or with a value that cannot be one. `absent` are the
    events that rules wait for and that never came. `cut` says why reading ended before the end of the file.
    """

    malformed: int = 0
    late: int = 0
    lost_marks: int = 0
    lost: int = 0
    unknown_events: Counter[str] = field(default_factory=Counter)
    lacking: Counter[tuple[str, str]] = field(default_factory=Counter)
    absent: tuple[str, ...] = ()
    cut: str = ""

    def note_lost(self, count: int | None) -> None:
        """Count a place where events were lost; None if it is not told how many."""
        self.lost_marks += 1
        self.lost += count or 0

    def note_unknown_event(self, name: str) -> None:
        """Count an event that the catalog does not have."""
        short = name[:_LONGEST_NAME]
        known = short in self.unknown_events or len(self.unknown_events) < _MOST_NAMES
        self.unknown_events[short if known else OTHERS] += 1

    def __bool__(self) -> bool:
        return any(True for _ in self.sentences())

    def sentences(self) -> Iterator[str]:
        """Iterate over what is to be said, one sentence without a full stop for each kind of trouble."""
        if self.cut:
            yield self.cut
        if self.malformed:
            yield f"{_count(self.malformed, 'line')} could not be read and {_were(self.malformed)} left out"
        if self.lost_marks:
            told = f", {self.lost} of them counted" if self.lost else ", how many is not told"
            yield f"the tracer lost events at {_count(self.lost_marks, 'place')}{told}"
        if self.late:
            yield f"{_count(self.late, 'event')} came too late to be put in order"
        for (event, name), count in self.lacking.most_common():
            yield f"{event} came {_count(count, 'time')} without {name}, which the rules read"
        if self.unknown_events:
            named = ", ".join(f"{name} ({count})" for name, count in self.unknown_events.most_common(5))
            more = len(self.unknown_events) - 5
            yield f"events that the catalog does not have: {named}{f' and {more} more' if more > 0 else ''}"
        if self.absent:
            yield f"the trace has no {' and no '.join(self.absent)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
