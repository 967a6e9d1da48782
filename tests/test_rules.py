"""Every shipped rule and every example is right, says what it is, and renders."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpf_codegen import render
from ltrules.catalog.machine import shipped_catalog
from ltrules.check import check
from ltrules.lower import lower
from ltrules.parse import parse
from ltrules.source import read_source

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("rules/*.lt"), *ROOT.glob("examples/*.lt")])


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_checks_without_a_word_and_renders(path: Path) -> None:
    file, syntax_errors = parse(read_source(path))
    catalog = shipped_catalog()

    rules, found = check([file], catalog, lambda p: parse(read_source(p))[0])
    text = render(lower(rules, catalog))

    assert not syntax_errors
    assert [str(d.span) + d.message for d in found] == []
    assert rules.rules
    assert 'SEC("tp' in text


@pytest.mark.parametrize("path", sorted(ROOT.glob("rules/*.lt")), ids=lambda p: p.name)
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

    assert all(f"`{path.name}`" in page for path in ROOT.glob("examples/*.lt"))
