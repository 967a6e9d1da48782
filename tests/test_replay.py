"""The corpus again: cases with recorded events give exactly the alerts and numbers that lie beside them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from golden import CASES, Golden
from ltrules.engines.replay import ReplaySession
from ltrules.sinks import make_sink
from ltrules.traces import needs_of, open_trace
from support import CATALOG, RULE, good_rules

EVENTS, EXPECTED = "events.jsonl", "expected.jsonl"


def replayed(directory: Path) -> str:
    """Return what the rules of a case say on its events, as JSON lines."""
    rules = good_rules((directory / RULE).read_text())
    out, err = io.StringIO(), io.StringIO()
    sink = make_sink("json", out, err, color=False, quiet=False)
    with open_trace(directory / EVENTS, CATALOG, needs_of(rules)) as trace, ReplaySession(rules, trace) as session:
        while not session.ended:
            sink.alerts(session.poll(1))
        sink.alerts(session.stop())
        sink.summary(session.stats())
    return out.getvalue()


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in CASES.glob(f"*/{EVENTS}")))
def test_case_gives_its_alerts(name: str, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / name)
    text = replayed(CASES / name)
    *alerts, summary = records(text)
    assert alerts or summary["rules"]
    if golden.update:
        (CASES / name / EXPECTED).write_text(text)
    assert [*alerts, summary] == records((CASES / name / EXPECTED).read_text())


def test_the_corpus_has_events() -> None:
    assert len(list(CASES.glob(f"*/{EVENTS}"))) >= 10
