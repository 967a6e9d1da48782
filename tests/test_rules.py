"""Every shipped rule and every example is right, says what it is, and renders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bpf_codegen import render
from ltrules.catalog.machine import shipped_catalog
from ltrules.check import check
from ltrules.lower import lower
from ltrules.parse import parse
from ltrules.resources import shipped_rules
from ltrules.source import TESTS, Source, read_source
from ltrules.testing.coverage import Coverage
from ltrules.testing.files import find_sources
from ltrules.testing.results import run_cases
from ltrules.testing.suites import load

ROOT = Path(__file__).parent.parent
SHIPPED = shipped_rules()
EXAMPLES = sorted(path for path in ROOT.glob("examples/*.lt") if not path.name.endswith(TESTS))


@pytest.mark.parametrize("path", [*SHIPPED, *EXAMPLES], ids=lambda p: p.name)
def test_checks_without_a_word_and_renders(path: Path) -> None:
    file, syntax_errors = parse(read_source(path))
    catalog = shipped_catalog()

    rules, found = check([file], catalog, lambda p: parse(read_source(p))[0])
    text = render(lower(rules, catalog))

    assert not syntax_errors
    assert [str(d.span) + d.message for d in found] == []
    assert rules.rules
    assert 'SEC("tp' in text


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_rules_are_documented(path: Path) -> None:
    file, _ = parse(read_source(path))
    rules, _ = check([file], shipped_catalog(), lambda p: parse(read_source(p))[0])

    for rule in rules.rules:
        assert rule.title != rule.name, rule.name
        assert "Overhead" in rule.doc or rule.name == "softirq_wait", rule.name
        assert rule.meta["severity"] in ("info", "warning", "critical")
        assert rule.message is not None
    assert all(p.doc for p in rules.params)


def test_the_examples_page_lists_every_example() -> None:
    page = (ROOT / "examples" / "README.md").read_text()

    assert all(f"`{path.name}`" in page for path in EXAMPLES)


@pytest.mark.parametrize("source", find_sources([ROOT / "rules", ROOT / "examples"]), ids=lambda s: Path(s.name).name)
def test_tests_of_rules_and_examples_pass(source: Source) -> None:
    loaded = load(source, shipped_catalog())

    assert not loaded.diagnostics
    assert loaded.suite.cases
    assert [r.case.title for r in run_cases(loaded.suite.cases) if r.outcome != "passed"] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_rules_are_tested_in_full(path: Path) -> None:
    """Each has tests that alert and tests that do not, and one on a recorded trace; together they reach all of it."""
    loaded = load(read_source(path.with_name(path.stem + TESTS)), shipped_catalog())
    coverage = Coverage()
    results = list(run_cases(loaded.suite.cases, coverage))

    covered = coverage.of(loaded.suite.rules)
    assert [point.said for rule in covered for point in rule.missed] == []
    for rule in loaded.suite.rules:
        mine = [r for r in results if r.trial and rule.name in [one.name for one in r.case.rules.rules]]
        assert any(r.trial.reports for r in mine if r.trial), rule.name
        assert any(not r.trial.reports for r in mine if r.trial and r.case.expectations), rule.name
        assert any(r.case.trace for r in mine), rule.name


def test_recorded_traces_are_small_and_name_nobody() -> None:
    traces = sorted((ROOT / "rules" / "traces").iterdir())
    assert [path.name for path in traces] == [f"{path.stem}.jsonl.gz" for path in SHIPPED]
    for path in traces:
        assert path.stat().st_size < 32 << 10
        header = json.loads(gzip.decompress(path.read_bytes()).split(b"\n", 1)[0])
        assert header["anonymised"] is True
