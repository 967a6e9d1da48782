"""`python -m benchmarks [--quick] [NAME…]`: run benchmarks, print their tables as Markdown."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

from benchmarks import alerts, cost, pairing, recording, replay, startup, timeouts, wakeups
from benchmarks.machine import describe
from ltrules.errors import LtrulesError

BENCHMARKS = {
    "startup": startup.run,
    "cost": cost.run,
    "alerts": alerts.run,
    "wakeups": wakeups.run,
    "timeouts": timeouts.run,
    "pairing": pairing.run,
    "recording": recording.run,
    "replay": replay.run,
}


def main() -> None:
    """Run what was asked for, with a cache of our own: what the user has cached neither helps nor suffers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute, and less to be trusted")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    if os.geteuid():
        sys.exit("benchmarks: root is needed to trace the kernel")
    print(describe(arguments.quick))
    with tempfile.TemporaryDirectory(prefix="ltrules-bench-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed ltrules has its bytecode
        for name in arguments.names or BENCHMARKS:
            try:
                print(f"\n## {name}\n\n{BENCHMARKS[name](arguments.quick)}", flush=True)
            except LtrulesError as error:
                sys.exit(f"benchmarks: {name}: {error}")


main()
