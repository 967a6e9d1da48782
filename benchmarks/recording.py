"""How many events a second are written into a recording, and whether every other one is counted as lost."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.table import markdown, spread
from ltrules.catalog import machine_catalog
from ltrules.cli.loading import load_rules
from ltrules.cli.recording import Recorder
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.recording import EVENT_BYTES
from ltrules.traces.output import recording_file

#: From a rule that reads a little to one that reads names too.
RULES = {
    "two numbers": "in sys_enter key task.tid capture id, out sys_exit key task.tid capture ret, thresh 1h",
    "and a name": "in sys_enter key task.tid capture (id, task.comm), out sys_exit key task.tid capture ret, thresh 1h",
}


def run(quick: bool) -> str:
    """Return a table of what was written and lost while one process does nothing but system calls."""
    rows = []
    for what, rule in RULES.items():
        for name in ("trace.jsonl", "trace.jsonl.gz"):
            rates = [_flood(rule, name, 1.0 if quick else 3.0) for _ in range(2 if quick else 5)]
            written, lost = ([rate[i] / 1000 for rate in rates] for i in (0, 1))
            rows.append([what, name, spread(written), spread(lost)])
    return markdown(["recorded of each event", "file", "written, k/s", "lost and counted, k/s"], rows)


def _flood(rule: str, name: str, seconds: float) -> tuple[float, float]:
    """Return events written and lost, each a second."""
    catalog = machine_catalog()
    path = Path(os.environ["XDG_CACHE_HOME"]) / name
    rules = load_rules((), (rule,), (), catalog)
    with ExitStack() as stack:
        load = stack.enter_context(
            subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL)
        )
        stack.callback(load.terminate)
        session = stack.enter_context(LibbpfEngine(catalog).record(rules, EVENT_BYTES))
        recorder = Recorder(session, rules, stack.enter_context(recording_file(str(path))), name)
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            session.poll(recorder.period)
            recorder.take()
        session.stop()
        recorder.finish()
        took = time.monotonic() - begin
        assert session.recorded is not None
        return sum(recorder.counts.values()) / took, sum(session.recorded.unrecorded().values()) / took
