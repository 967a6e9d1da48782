"""A plugin of pytest that shows failures as they happen: a guest may hang later, and be killed before the end."""

from __future__ import annotations

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        print(f"\n{report.longreprtext}\n{report.capstdout}{report.capstderr}")
