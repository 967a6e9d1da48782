"""Run a command of this checkout in a guest with another kernel, for a limited time, and get its exit status.

The guest is QEMU without KVM, started by virtme-ng. It sees the files of the host through 9p and cannot change them.
It may write in the checkout, /tmp and /usr/lib, but what it writes there is gone when it ends.
"""

from __future__ import annotations

import compileall
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from tests.vm.compiling import compiling
from tests.vm.kernels import Unpacked

TOP = Path(__file__).parents[2]
#: Where the guest has the directory that it shares with the host.
SHARED = Path("/run/ltrules")
#: The console shows this when the guest has booted. What comes before are messages of the boot loader.
BOOTED = "ltrules-guest: booted"
#: Booting takes 5 s, and several times that on a busy machine.
BOOT_SECONDS = 150
QEMU = "qemu-system-x86_64"
MEMORY = "2G"
CPUS = 2
#: What the guest runs. Modules are those of its kernel; a directory for them need not exist on the host.
SCRIPT = """\
cd {top}
export PATH={top}/tests/vm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TMPDIR={shared}/tmp XDG_CACHE_HOME=/run/tmp/cache PYTHONUNBUFFERED=1 LTRULES_SHARED={shared}
modprobe loop
echo {booted}
{{ {command}; echo $? >{shared}/status; }} </dev/null 2>&1 | cat
"""


class GuestError(Exception):
    """A guest did not come to the end of its command. The message says why."""


class GuestHungError(GuestError):
    """A guest took longer than it was given, and was killed."""


class NotBootedError(GuestError):
    """A guest did not get as far as to run anything."""


@dataclass(frozen=True)
class Ended:
    """What came of a command: its exit status, and how long the guest ran, in seconds."""

    status: int
    seconds: float


def run(kernel: Unpacked, command: Sequence[str], shared: Path, seconds: int, show: Callable[[str], object]) -> Ended:
    """Run a command in a guest and return how it ended.

    `shared` is a directory of the host where the guest may write, known to the command as $LTRULES_SHARED.
    `show` gets what the command and the kernel write to the console; of the messages of booting only if it failed.
    A guest that does not boot is tried once more: seen once in hundreds of boots, on a machine with much else to do.
    Raises GuestError if the guest does not start, crashes, or takes more than `seconds`.
    """
    if shutil.which(QEMU) is None:
        raise GuestError(f"kernel {kernel.kernel.name}: {QEMU} is missing or may not be run: see `tools/setup.sh vm`")
    script = SCRIPT.format(
        top=shlex.quote(str(TOP)), command=shlex.join(command), shared=SHARED, booted=shlex.quote(BOOTED)
    )
    (shared / "tmp").mkdir(exist_ok=True)
    (shared / "run").write_text(script)
    # Each Python of the guest would compile it again.
    for package in ("ltrules", "bpf_codegen"):
        compileall.compile_dir(TOP / package, quiet=2)
    with compiling(shared, SHARED):
        try:
            return attempt(kernel, shared, seconds, show)
        except NotBootedError as error:
            show(f"{error}; once more")
        return attempt(kernel, shared, seconds, show)


def attempt(kernel: Unpacked, shared: Path, seconds: int, show: Callable[[str], object]) -> Ended:
    """Boot a guest, which runs the script in `shared`, and return how that ended. Raises GuestError."""
    status = shared / "status"
    status.unlink(missing_ok=True)
    start = time.monotonic()
    # timeout(1) has a process group of its own, and ends just that, even if we are killed.
    words = ["timeout", "--kill-after=5", str(seconds), "nice", "-n", "10", *virtme(kernel, shared)]
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"},
    ) as guest:
        try:
            booted = watch(guest, show)
        except BaseException:
            guest.terminate()
            raise
    name = kernel.kernel.name
    if not booted:
        raise NotBootedError(f"kernel {name}: the guest did not boot")
    if guest.returncode in (124, 137):
        raise GuestHungError(f"kernel {name}: the guest did not end within {seconds} s and was killed")
    if not status.exists():
        raise GuestError(f"kernel {name}: the guest crashed")
    return Ended(int(status.read_text()), time.monotonic() - start)


def watch(guest: subprocess.Popen[str], show: Callable[[str], object]) -> bool:
    """Show the console of a guest until it ends; return whether it has booted, which it must do soon."""
    boot: list[str] = []
    assert guest.stdout is not None
    impatience = Timer(BOOT_SECONDS, guest.terminate)
    impatience.start()
    try:
        for line in guest.stdout:
            boot.append(line.rstrip())
            if BOOTED in line:
                break
        else:
            for line in boot:
                show(line)
            return False
    finally:
        impatience.cancel()
    for line in guest.stdout:
        show(line.rstrip())
    return True


def virtme(kernel: Unpacked, shared: Path) -> list[str]:
    """Return the command that boots a kernel and runs the script in `shared`."""
    words = [
        *(str(Path(sys.executable).parent / "virtme-run"), "--kimg", str(kernel.image), "--mods", "auto"),
        *("--disable-kvm", "--force-9p", "--cpus", str(CPUS), "--memory", MEMORY, "--rwdir", f"{SHARED}={shared}"),
        *("--show-boot-console", "--kopt", "loglevel=4", "--script-sh", f"exec sh {SHARED}/run"),
    ]
    for directory in ("/usr/lib", "/tmp", str(TOP)):  # noqa: S108 - of the guest
        words += ["--overlay-rwdir", directory]
    return words
