"""The rules that are shipped load and attach on this kernel, and leave nothing unaccounted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers import assert_accounted, run_rules

pytestmark = pytest.mark.kernel

RULES = sorted((Path(__file__).parents[2] / "rules").glob("*.lt"))


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_shipped_rules_run(path: Path) -> None:
    _, stats = run_rules(path.read_text(), lambda: time.sleep(0.2))
    for rule in stats.rules:
        assert_accounted(rule)
