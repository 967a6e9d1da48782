"""The rules that are shipped load and attach on this kernel, and leave nothing unaccounted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers import assert_accounted, run_rules
from ltrules.resources import shipped_rules

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("path", shipped_rules(), ids=lambda path: path.stem)
def test_shipped_rules_run(path: Path) -> None:
    _, stats = run_rules(path.read_text(), lambda: time.sleep(0.2))
    for rule in stats.rules:
        assert_accounted(rule)
