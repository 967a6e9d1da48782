"""`python -m tests.vm --kernel 6.12 -- COMMAND…`: run a command of this checkout in a guest with another kernel.

The exit status is that of the command; 124 if the guest was killed because it took too long, 125 if it crashed or could
not start.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.vm.guest import GuestError, GuestHungError, run
from tests.vm.kernels import KERNELS, KernelMissingError, kernel_named, unpack


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    names = " ".join(kernel.name for kernel in KERNELS)
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("--kernel", default=KERNELS[0].name, metavar="NAME", help=f"one of: {names} (%(default)s)")
    parser.add_argument("--timeout", type=int, default=120, metavar="SECONDS", help="kill the guest then (%(default)s)")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, from the top of the checkout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ltrules-vm-") as shared:
        try:
            kernel = unpack(kernel_named(arguments.kernel))
            print(f"vm: booting {kernel.release}", file=sys.stderr)
            ended = run(kernel, arguments.command, Path(shared), arguments.timeout, say)
        except (KernelMissingError, GuestError) as error:
            print(f"vm: {error}", file=sys.stderr)
            return 124 if isinstance(error, GuestHungError) else 125
    print(f"vm: exit status {ended.status} after {ended.seconds:.0f} s", file=sys.stderr)
    return ended.status


sys.exit(main())
