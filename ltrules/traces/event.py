"""The value that a trace is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ltrules.alert import Scalar


class TraceEvent(NamedTuple):
    """One event of a trace.

    `time_ns` is CLOCK_MONOTONIC where the trace says so; rules need differences only. `name` is "category:event".
    `fields` maps names as rules write them to values; an element of an array is "args[0]". `context` maps what
    `model.Context` names ("tid", "tgid", "comm", "uid", ...) to values, as far as the trace knows them, and may hold
    more.
    """

    time_ns: int
    name: str
    cpu: int
    context: Mapping[str, Scalar]
    fields: Mapping[str, Scalar]
