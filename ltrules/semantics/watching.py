"""Tell what each clause of a rule did at each event, seen from outside by what changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum

from ltrules import model
from ltrules.semantics.reading import Key, Reading
from ltrules.semantics.rule import RuleState, Step
from ltrules.traces import TraceEvent


class Did(Enum):
    """What a clause did at an event of its own."""

    ACTED = "acted"
    RULED_OUT = "ruled out"  # by its `where`
    FOUND_NONE = "found none"  # no measurement was pending for its key, or one that was too old


Watch = Callable[[model.Rule, model.Handler, Did], None]

#: Counters that grow when a clause acts: one of them for each that is not ruled out and finds what it needs.
_ACTS = ("opened", "kept", "closed", "cancelled")


def watched(step: Step, state: RuleState, handler: model.Handler, watch: Watch) -> Step:
    """Return a step that does the same, and tells what it did."""

    def acts() -> int:
        return sum(state.counters[name] for name in _ACTS)

    def match(event: TraceEvent) -> Key | None:
        key = step.reading.match(event)
        if key is None:
            watch(state.rule, handler, Did.RULED_OUT)
        return key

    def run(key: Key, reading: Reading, event: TraceEvent) -> None:
        found, before, expired = key in state.pending, acts(), state.counters["expired"]
        step.run(key, reading, event)
        if acts() > before:
            did = Did.ACTED
        elif found and state.counters["expired"] == expired:
            did = Did.RULED_OUT
        else:
            did = Did.FOUND_NONE
        watch(state.rule, handler, did)

    return Step(run, dataclasses.replace(step.reading, match=match))
