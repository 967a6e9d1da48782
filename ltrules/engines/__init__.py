"""What every engine offers: open rules, poll for alerts, read the numbers, close."""

from __future__ import annotations

from typing import Protocol

from ltrules.alert import Alert, Stats
from ltrules.model import RuleSet


class Session(Protocol):
    """Rules at work; a context manager. Leaving it detaches everything."""

    def __enter__(self) -> Session: ...

    def __exit__(self, *exc: object) -> None: ...

    @property
    def probes(self) -> tuple[str, ...]:
        """Return what is attached, as people name it, with how: "sched:sched_switch (tp_btf)"."""

    def poll(self, timeout: float) -> list[Alert]:
        """Return the alerts that came within `timeout` seconds; maybe none, maybe early."""

    def stop(self) -> list[Alert]:
        """Stop measuring, and return the alerts that were still on their way."""

    def stats(self) -> Stats:
        """Return the numbers up to now; after `stop` they are final."""


class Engine(Protocol):
    """A way to run rules."""

    name: str

    def unavailable(self) -> str | None:
        """Return why it cannot run here, in one sentence that says what to do; None if it can."""

    def open(self, rules: RuleSet) -> Session:
        """Compile, load and attach. Raises EngineError."""
