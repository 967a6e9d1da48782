"""A trace that nobody here wrote, and what its tool said of it: the manual page of `trace-cmd report -w`.

The page comes with Debian's package trace-cmd. It shows lines of a kernel of 2010 with wakeup latencies as trace-cmd
computed them (the second line is shortened here):

    <idle>-0 [003] 158131.516753: sched_wakeup: comm=ksoftirqd/3 pid=13 prio=49 success=1 target_cpu=003
    <idle>-0 [003] 158131.516855: sched_switch: ... ==> next_comm=ksoftirqd/3 next_pid=13 ... Latency: 101.244 usecs
"""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path

import pytest

from ltrules.alert import Alert
from ltrules.engines.replay import ReplaySession
from ltrules.traces import Troubles, needs_of, open_trace
from support import CATALOG, good_rules

PAGE = Path("/usr/share/man/man1/trace-cmd-report.1.gz")
RULE = "wakeup: in sched_wakeup key pid, out sched_switch key next_pid capture next_comm, thresh 0us"
_TIMED = re.compile(r"sched_switch: .* next_pid=(\d+) .*Latency: ([\d.]+) usecs")


def extracts() -> list[list[str]]:
    """Return the lines of scheduler events on the page, without its markup, one list for each example."""
    if not PAGE.exists():
        pytest.skip(f"{PAGE} is not there: apt-get install trace-cmd (where manual pages are installed)")
    text = gzip.decompress(PAGE.read_bytes()).decode()
    text = text.replace(r"\-", "-").replace(r"\&.", ".").replace(r"\&", "")
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if re.match(r" .*\[\d{3}\] +\d+\.\d{6}: sched_", line):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [lines for lines in found if any(map(_TIMED.search, lines))]


def replayed(lines: list[str]) -> tuple[list[Alert], Troubles]:
    rules = good_rules(RULE)
    text = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    with open_trace(text, CATALOG, needs_of(rules)) as trace, ReplaySession(rules, trace) as session:
        alerts = []
        while not session.ended:
            alerts += session.poll(1)
        return alerts, trace.troubles


def test_wakeup_latencies_are_those_that_trace_cmd_computed() -> None:
    compared = 0
    for lines in extracts():
        alerts, troubles = replayed(lines)
        assert not troubles, list(troubles.sentences())
        ours = {(alert.key["pid"], alert.closed_ns): alert.latency_ns for alert in alerts}
        for line in lines:
            timed = _TIMED.search(line)
            woken = timed and f" pid={timed[1]} " in "".join(each for each in lines if "sched_wakeup" in each)
            if timed and woken:
                seconds, fraction = re.findall(r"\] +(\d+)\.(\d{6}):", line)[0]
                latency = ours[int(timed[1]), int(seconds) * 10**9 + int(fraction) * 1000]
                # The page has whole microseconds, trace-cmd had nanoseconds: each time is off by half of one at most.
                assert abs(latency - float(timed[2]) * 1000) <= 1000, line
                compared += 1
    assert compared == 7
