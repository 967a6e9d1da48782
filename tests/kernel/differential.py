"""One run of rules, twice: as the kernel ran them, and as replay judges what was recorded in the same programs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from helpers import catalog
from ltrules.alert import Alert, Stats
from ltrules.cli.recording import Recorder
from ltrules.engines.libbpf import LibbpfSession
from ltrules.lower import lower
from ltrules.model import RuleSet
from ltrules.recording import recorded_plan
from ltrules.semantics import Reference
from ltrules.traces import needs_of, open_trace


@dataclass(frozen=True)
class Run:
    """What rules reported and counted."""

    alerts: list[Alert]
    stats: Stats


def run_both(rules: RuleSet, workload: Callable[[], object], recording: Path, event_bytes: int) -> tuple[Run, Run]:
    planned = recorded_plan(lower(rules, catalog(), 1 << 26), event_bytes, rules=True)
    with LibbpfSession(rules, planned) as session, recording.open("wb") as out, ThreadPoolExecutor(1) as pool:
        recorder = Recorder(session, rules, out, str(recording))
        alerts: list[Alert] = []
        work = pool.submit(workload)
        while not work.done():
            alerts += session.poll(recorder.period)
            recorder.take()
        work.result()
        alerts += session.stop()
        recorder.finish()
        live = Run(alerts, session.stats())
        lost = recorder.losses()
    return live, replayed(rules, recording), lost


def replayed(rules: RuleSet, recording: Path) -> Run:
    reference = Reference(rules)
    alerts = []
    with open_trace(recording, catalog(), needs_of(rules)) as trace:
        for event in trace:
            alerts += reference.feed(event)
        troubles = [s for s in trace.troubles.sentences() if not s.startswith("the trace has no ")]
        assert not troubles, troubles
        alerts += reference.advance(trace.end_ns)
    alerts += reference.finish()
    assert not reference.gaps
    return Run(alerts, reference.stats())


def identity(alert: Alert) -> Hashable:
    """Return all that both must agree on; when a timeout was noticed is the engine's own affair."""
    common = (
        alert.rule,
        alert.kind,
        alert.severity,
        alert.id,
        alert.opened_ns,
        alert.limit_ns,
        alert.suppressed,
        tuple(alert.key.items()),
        tuple((scope, tuple(v.items())) for scope, v in alert.captured.items()),
    )
    if alert.kind == "timeout":
        return common
    return (*common, alert.closed_ns, alert.latency_ns, alert.outcome, alert.late, alert.cpu, alert.message)
