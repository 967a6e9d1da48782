"""The kernel against the reference: rules run under load, and replay of what was recorded meanwhile must say the same.

Cases that once differed are in `differential_cases`; beside them, rules are drawn at random, for 40 seconds or as many
as LTRULES_DIFFERENTIAL_SECONDS says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from differential import ENGINES, Lost, Run, differences, judge_twice
from helpers import rule_set
from ltrules.catalog.machine import shipped_catalog
from random_rules import FAMILIES, RandomRule, events, present, rules

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not installed"),
]

CASES = sorted((Path(__file__).parent / "differential_cases").glob("*.lt"))
STRICT = "LTRULES_DIFFERENTIAL_SECONDS" in os.environ
SECONDS = float(os.environ.get("LTRULES_DIFFERENTIAL_SECONDS", "40"))
#: Rules in one run: they share programs, and must not notice.
TOGETHER = 6
#: Loads, from the usual one to the least, with the buffers for them: where events are lost, the next one is tried.
LOADS = (
    (
        "--cpu 1 --cpu-load 40 --pipe 1 --pipe-ops 4000 --timer 1 --timer-ops 600 --futex 1 --futex-ops 300"
        " --hdd 1 --hdd-bytes 4m --hdd-ops 40 --hdd-opts fsync --timeout 1s",
        1 << 26,
    ),
    ("--pipe 1 --pipe-ops 1000 --timer 1 --timer-ops 100 --hdd 1 --hdd-bytes 1m --hdd-ops 4 --timeout 1s", 1 << 26),
    ("--pipe 1 --pipe-ops 100 --timeout 1s", 1 << 28),
)


def judged(engine: str, text: str, directory: Path) -> tuple[Run, Run]:
    """Return a run of rules under as much load as loses nothing, and its replay."""
    checked = rule_set(text)
    losses = []
    for load, buffer in LOADS:
        command = ["stress-ng", *load.split(), "--temp-path", str(directory), "--quiet"]
        try:
            return judge_twice(
                ENGINES[engine], checked, lambda c=command: subprocess.run(c, check=False), directory / "trace", buffer
            )
        except Lost as lost:
            losses.append(lost)
    pytest.fail(f"events or alerts are lost under any load: {losses}\n{text}")


def compared(engine: str, text: str, ordered: Sequence[bool], directory: Path) -> tuple[list[str], Run]:
    """Return what differs between the kernel and replay, and what replay says.

    Whoever asks for a long time is told of every difference. Else it must show again: where a virtual CPU is taken away
    within an event, for longer than the grace of a sweep, a measurement that ended in time is told as overdue.
    """
    live, replayed = judged(engine, text, directory)
    found = differences(live, replayed, ordered)
    if found and not STRICT:
        print("not the same, once:", *found, text, sep="\n")
        live, replayed = judged(engine, text, directory)
        found = differences(live, replayed, ordered)
    return found, replayed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_cases_that_differed_once(engine: str, case: Path, tmp_path: Path) -> None:
    text = case.read_text()
    found, replayed = compared(engine, text, [True] * len(rule_set(text).rules), tmp_path)
    assert found == []
    assert all(rule.counters["closed"] > 100 for rule in replayed.stats.rules)


@pytest.mark.parametrize("engine", ENGINES)
def test_random_rules(engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    until = time.monotonic() + SECONDS
    failures: list[str] = []
    runs: list[Run] = []

    @settings(
        max_examples=max(int(SECONDS), 2),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*(rules(f"r{i}") for i in range(TOGETHER))))
    def compare(drawn: tuple[RandomRule, ...]) -> None:
        # No second run is like the first: what is found is kept here, and hypothesis need not try it again.
        if failures or time.monotonic() > until:
            return
        text = "".join(rule.text for rule in drawn)
        found, replayed = compared(engine, text, [rule.ordered for rule in drawn], tmp_path)
        if found:
            failures.extend([*found, text])
        runs.append(replayed)

    compare()
    assert not failures, "\n".join([*failures, f"recording: {tmp_path / 'trace'}"])
    closed = [rule.counters["closed"] for run in runs for rule in run.stats.rules]
    with capsys.disabled():
        print(f"\n{engine}: {len(closed)} random rules in {len(runs)} runs agree with replay:", end=" ")
        print(f"{sum(closed)} measurements, {sum(len(run.alerts) for run in runs)} alerts")
    assert sum(map(bool, closed)) > len(closed) // 3, "the load does not fit the rules"


def test_there_are_events_that_rules_can_be_drawn_from() -> None:
    known = shipped_catalog()  # of a kernel that has them all
    assert [event for family in FAMILIES for event in events(family) if not known.find(event)] == []
    assert sum(map(present, FAMILIES)) >= len(FAMILIES) - 1
