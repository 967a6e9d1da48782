"""Run clang for a guest, which asks through a directory that it shares with the host (tests/vm/bin/clang).

What is tested in a guest is its kernel. An emulated clang takes half a minute for what takes a tenth of a second here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from ltrules.engines.compiler import NO_CLANG, find_clang

#: How long a guest may wait for the host to see what it asks, in seconds.
PERIOD = 0.02


@contextmanager
def compiling(here: Path, there: Path) -> Iterator[None]:
    """Run clang in a directory that the guest knows as `there`, as often as the guest asks, until the block ends.

    Raises OSError if there is no clang.
    """
    clang = find_clang()
    if clang is None:
        raise OSError(NO_CLANG)
    (here / "clang").mkdir(exist_ok=True)
    ended = Event()
    thread = Thread(target=_serve, args=(clang, here, there, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _serve(clang: Path, here: Path, there: Path, ended: Event) -> None:
    while not ended.wait(PERIOD):
        for request in (here / "clang").glob("*.new"):
            place, *words, last = request.read_text().splitlines() or ["", ""]
            if last == "end":  # all of it is written
                request.unlink()
                place = Path(place)
                shared = here / place.relative_to(there) if place.is_relative_to(there) else here
                _compile([str(clang), *words], shared, request.with_suffix(""))


def _compile(command: list[str], place: Path, answer: Path) -> None:
    """Run a command; leave what it says in `ANSWER.output`, then its exit status in `ANSWER.status`."""
    with answer.with_suffix(".output").open("wb") as output:
        done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    status = answer.with_suffix(".making")
    status.write_text(f"{done.returncode}\n")
    status.rename(answer.with_suffix(".status"))
