"""The protocol of the pairing table and its queue, in every order in which CPUs can take their steps.

Each actor below is the C of the handlers or of the sweep, step by step: whatever touches shared memory is one step.
All orders of the steps of all actors are tried, and what must hold at the end is checked for each.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

FREE, BUSY, REPORTED = 0, 1, 1
LAST = -1
WAYS = 2
TWINS = 3
KEY, OTHER_KEY = "k", "j"

Memory = dict[Any, Any]
Step = Callable[[Memory], Any]
Actor = Callable[[], Generator[Step, Any, None]]


# ------------------------------------------------------------------------------ single steps
def load(cell: Any) -> Step:
    return lambda memory: memory.get(cell, 0)


def store(cell: Any, value: Any) -> Step:
    return lambda memory: memory.__setitem__(cell, value)


def swap_if(cell: Any, expected: Any, value: Any) -> Step:
    def step(memory: Memory) -> Any:
        found = memory.get(cell, 0)
        if found == expected:
            memory[cell] = value
        return found

    return step


def exchange(cell: Any, value: Any) -> Step:
    def step(memory: Memory) -> Any:
        found = memory.get(cell, 0)
        memory[cell] = value
        return found

    return step


def add(counter: str) -> Step:
    return lambda memory: memory.__setitem__(counter, memory.get(counter, 0) + 1)


def note(what: str, value: Any) -> Step:
    """Remember what an actor saw, for the checks; no part of the protocol."""
    return lambda memory: memory.__setitem__(what, (*memory.get(what, ()), value))


# ---------------------------------------------------------------------------------- the actors
Part = Generator[Step, Any, Any]


def find(key: str, but: int = WAYS) -> Part:
    for way in range(WAYS):
        seen = yield load(("state", way))
        if seen > BUSY and way != but and (yield load(("key", way))) == key:
            return way, seen
    return WAYS, 0


def claim(way: int, state: int, value: int) -> Part:
    found = yield swap_if(("state", way), state, value)
    if found == state:
        return state
    if found != state | REPORTED:
        return 0
    return found if (yield swap_if(("state", way), found, value)) == found else 0


def enqueue(way: int) -> Part:
    if (yield swap_if(("next", way), 0, LAST)):
        return
    while True:
        first = yield load("head")
        yield store(("next", way), first or LAST)
        if (yield swap_if("head", first, way + 1)) == first:
            return


def opening(key: str, at: int, keep_first: bool = False) -> Actor:
    def run() -> Part:
        mine = at << 1
        way, state = yield from find(key)
        if state and keep_first:
            yield add("kept")
            return
        yield add("opened")
        if state and (state := (yield from claim(way, state, BUSY))):
            yield add("replaced")
            if not state & REPORTED:
                yield note("late", state >> 1)
        else:
            for way in range(WAYS):
                if not (yield load(("state", way))) and not (yield swap_if(("state", way), FREE, BUSY)):
                    break
            else:
                yield add("refused")
                return
        yield store(("key", way), key)
        yield store(("saved", way), at)
        if not (yield load(("next", way))):
            yield from enqueue(way)
        yield exchange(("state", way), mine)
        for _ in range(TWINS):
            other, seen = yield from find(key, but=way)
            if not seen:
                return
            theirs = seen & ~REPORTED
            newer = theirs > mine or (theirs == mine and other > way)
            loser, held = (other, seen) if newer == keep_first else (way, mine)
            if (yield swap_if(("state", loser), held, FREE)) == held:
                yield add("replaced")

    return run


def closing(key: str, *, saved: bool = True) -> Actor:
    """`saved`: the rule has captures, so that the slot stays claimed while they are read."""

    def run() -> Part:
        way, state = yield from find(key)
        if not state:
            yield add("unmatched")
            return
        state = yield from claim(way, state, BUSY if saved else FREE)
        if not state:
            yield add("unmatched")
            return
        yield add("closed")
        if saved:
            yield note("read", (state >> 1, (yield load(("saved", way)))))
            yield exchange(("state", way), FREE)
        if not state & REPORTED:
            yield note("late", state >> 1)

    return run


def sweep() -> Part:
    """All lists are taken and looked at: everything in them is overdue."""
    slot = yield exchange("head", 0)
    while slot:
        way = slot - 1
        following = yield exchange(("next", way), 0)
        slot = 0 if following == LAST else following
        state = yield load(("state", way))
        if not state or (state > BUSY and state & REPORTED):
            continue
        if state > BUSY:
            if (yield swap_if(("state", way), state, state | REPORTED)) == state:
                yield note("timeout", state >> 1)
            continue
        yield from enqueue(way)


# ------------------------------------------------------------------------------ all their orders
@dataclass(frozen=True)
class Ended:
    """The memory after all actors have ended."""

    memory: Memory

    def __getitem__(self, name: str) -> Any:
        return self.memory.get(name, 0)

    @property
    def pending(self) -> list[int]:
        states = [self.memory.get(("state", way), 0) for way in range(WAYS)]
        return [way for way, state in enumerate(states) if state > BUSY]

    @property
    def queued(self) -> set[int]:
        found, slot = set(), self.memory.get("head", 0)
        while slot and slot != LAST:
            assert slot - 1 not in found, "a list runs in a circle"
            found.add(slot - 1)
            slot = self.memory[("next", slot - 1)]
        return found


def all_ends(*actors: Actor, before: tuple[Actor, ...] = ()) -> Iterator[Ended]:
    """Iterate over the ends of all orders of steps. Actors in `before` run first, one after the other.

    An actor's own state follows from what its steps returned: orders that agree in that and in memory go on alike.
    """
    memory: Memory = {}
    for actor in before:
        _run(actor, memory)
    todo = [(memory, tuple(() for _ in actors))]
    seen = set()
    while todo:
        memory, histories = todo.pop()
        ended = True
        for i, actor in enumerate(actors):
            step = _next_step(actor, histories[i])
            if step is None:
                continue
            ended = False
            changed = dict(memory)
            result = step(changed)
            after = (*histories[:i], (*histories[i], result), *histories[i + 1 :])
            mark = frozenset(changed.items()), after
            if mark not in seen:
                seen.add(mark)
                todo.append((changed, after))
        if ended:
            yield Ended(memory)


def _run(actor: Actor, memory: Memory) -> None:
    history: tuple[Any, ...] = ()
    while (step := _next_step(actor, history)) is not None:
        history = (*history, step(memory))


def _next_step(actor: Actor, history: tuple[Any, ...]) -> Step | None:
    running = actor()
    try:
        step = next(running)
        for result in history:
            step = running.send(result)
    except StopIteration:
        return None
    return step


def assert_sound(end: Ended) -> None:
    """Assert what always holds: every measurement is accounted for, nothing stays claimed, nothing is forgotten."""
    ends = ("closed", "replaced", "refused")
    assert end["opened"] == sum(end[name] for name in ends) + len(end.pending)
    assert all(end.memory.get(("state", way), 0) != BUSY for way in range(WAYS))
    keys = [end.memory[("key", way)] for way in end.pending]
    assert len(keys) == len(set(keys)), "one key is pending twice"
    for opened, saved in end["read"] or ():
        assert opened == saved, "the captures of another measurement were read"
    unreported = {way for way in end.pending if not end.memory[("state", way)] & REPORTED}
    assert unreported <= end.queued, "a measurement is pending that no sweep will find"
    told = (*(end["timeout"] or ()), *(end["late"] or ()))
    assert len(told) == len(set(told)), "a timeout was told twice"


PAIRS = {
    "two CPUs open one key": [opening(KEY, 10), opening(KEY, 11)],
    "at the very same time": [opening(KEY, 10), opening(KEY, 10)],
    "keep the first": [opening(KEY, 10, keep_first=True), opening(KEY, 11, keep_first=True)],
    "two keys, one CPU slow": [opening(KEY, 10), opening(OTHER_KEY, 11), closing(OTHER_KEY)],
    "two keys": [opening(KEY, 10), opening(OTHER_KEY, 11)],
    "open and close": [opening(KEY, 10), closing(KEY)],
    "open and sweep": [opening(KEY, 10), sweep],
}
OVER = {
    "two CPUs close": [closing(KEY), closing(KEY)],
    "two CPUs close without captures": [closing(KEY, saved=False), closing(KEY, saved=False)],
    "close and sweep": [closing(KEY), sweep],
    "close and sweep without captures": [closing(KEY, saved=False), sweep],
    "replace and close": [opening(KEY, 20), closing(KEY)],
    "replace and sweep": [opening(KEY, 20), sweep],
    "close, open in its place, and sweep": [closing(KEY, saved=False), opening(OTHER_KEY, 20), sweep],
    "close, replace and sweep": [closing(KEY, saved=False), opening(KEY, 20), sweep],
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_empty_table(name: str) -> None:
    ends = count()
    for end in all_ends(*PAIRS[name]):
        assert_sound(end)
        next(ends)
    assert next(ends) > 0


@pytest.mark.parametrize("name", OVER)
def test_a_table_with_a_measurement(name: str) -> None:
    for end in all_ends(*OVER[name], before=(opening(KEY, 10),)):
        assert_sound(end)
        told = {*(end["timeout"] or ()), *(end["late"] or ())}
        assert 10 in told or 10 in [end.memory[("state", way)] >> 1 for way in end.pending]


def test_a_full_table_refuses() -> None:
    full = (opening(KEY, 10), opening(OTHER_KEY, 11))
    for end in all_ends(opening("a third", 20), closing(KEY), before=full):
        assert_sound(end)
        assert end["refused"] <= 1


def test_one_of_two_closings_wins() -> None:
    for end in all_ends(closing(KEY), closing(KEY), before=(opening(KEY, 10),)):
        assert (end["closed"], end["unmatched"]) == (1, 1)


def test_the_newest_of_two_openings_stays() -> None:
    for end in all_ends(opening(KEY, 10), opening(KEY, 11)):
        assert [end.memory[("state", way)] >> 1 for way in end.pending] in ([11], [10])
        assert end["replaced"] == 1


def test_a_step_left_out_is_noticed() -> None:
    """The checks can fail: a closing that frees the slot before it has read the captures."""

    def hasty() -> Part:
        way, state = yield from find(KEY)
        if state and (yield from claim(way, state, FREE)):
            yield add("closed")
            yield note("read", (state >> 1, (yield load(("saved", way)))))

    ends = list(all_ends(hasty, opening(OTHER_KEY, 20), before=(opening(KEY, 10), closing("none"))))
    with pytest.raises(AssertionError, match="another measurement"):
        for end in ends:
            assert_sound(end)
