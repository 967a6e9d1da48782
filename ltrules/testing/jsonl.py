"""Results for programs: one JSON object a line. The records are described in docs/testing.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ltrules.alert import Alert
from ltrules.report import as_json
from ltrules.testing.coverage import RuleCoverage
from ltrules.testing.judging import own_values
from ltrules.testing.results import OUTCOMES, Result
from ltrules.testing.suites import Loaded
from ltrules.testing.wording import expectation_text


def json_lines(
    files: Sequence[tuple[Loaded, Sequence[Result]]], covered: Sequence[RuleCoverage] | None
) -> Iterator[str]:
    """Iterate over the records of all files."""
    for loaded, results in files:
        for mistake in as_json(loaded.diagnostics)["diagnostics"]:
            yield _line({"type": "mistake", **mistake})
        for result in results:
            yield _line(_test(result))
    for rule in covered or ():
        yield _line(_coverage(rule))
    every = [result.outcome for _, results in files for result in results]
    counts = Counter(every)
    mistakes = sum(not loaded.sound for loaded, _ in files)
    outcomes = {outcome: counts[outcome] for outcome in OUTCOMES}
    yield _line({"type": "summary", "tests": len(every), **outcomes, "files_with_mistakes": mistakes})


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _test(result: Result) -> dict[str, Any]:
    case, trial = result.case, result.trial
    return {
        "type": "test",
        "file": case.span.source.name,
        "line": case.span.line,
        "title": case.title,
        "rules": [rule.name for rule in case.rules.rules],
        "outcome": result.outcome,
        "trouble": "" if result.trouble is None else str(result.trouble),
        "expectations": [
            {
                "text": expectation_text(verdict.expectation),
                "kind": verdict.expectation.kind,
                "expected": verdict.expectation.count,
                "made": verdict.made,
                "passed": verdict.passed,
            }
            for verdict in result.verdicts
        ],
        "notes": list(trial.notes) if trial else [],
        "reports": [_report(report, trial.start_ns) for report in trial.reports] if trial else [],
        "counters": {rule.rule: dict(rule.counters) for rule in trial.stats.rules} if trial else {},
    }


def _report(report: Alert, start_ns: int) -> dict[str, Any]:
    own = own_values(report, start_ns)
    return {
        "rule": report.rule,
        "kind": report.kind,
        "severity": report.severity,
        "at_ns": own["at"],
        "opened_ns": own["opened"],
        "latency_ns": report.latency_ns,
        "outcome": report.outcome,
        "late": report.late,
        "cpu": report.cpu,
        "key": dict(report.key),
        "captured": {scope: dict(values) for scope, values in report.captured.items()},
        "suppressed": report.suppressed,
        "message": report.message,
    }


def _coverage(rule: RuleCoverage) -> dict[str, Any]:
    return {
        "type": "coverage",
        "rules": list(rule.names),
        "file": rule.span.source.name,
        "line": rule.span.line,
        "reached": rule.reached,
        "of": len(rule.points),
        "missed": [{"line": p.span.line, "column": p.span.column, "said": p.said} for p in rule.missed],
    }
