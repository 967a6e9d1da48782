"""Read one BPF ring buffer."""

from __future__ import annotations

import ctypes
import errno

from ltrules.engines._libbpf import Sample, library, uninterrupted, wait_readable

#: Records taken by one reading, at most: a flood must not keep us from everything else, nor fill our memory.
BATCH = 2048


class Ring:
    """A ring buffer map and what libbpf keeps for reading it; `close` frees that, not the map."""

    def __init__(self, fd: int) -> None:
        """Prepare to read the map `fd`, which must stay open. Raises OSError."""
        self._fd = fd
        self._bpf = library()
        self._records: list[bytes] = []
        self._receive = Sample(self._append)  # libbpf keeps the address: it must live as long as we do
        self._ring = self._bpf.ring_buffer__new(fd, self._receive, None, None)

    def close(self) -> None:
        """Free what was kept for reading."""
        self._bpf.ring_buffer__free(self._ring)

    def poll(self, timeout_ms: int) -> list[bytes]:
        """Return records, at most BATCH; wait up to `timeout_ms` for the first, if there is none.

        A signal ends the waiting. What its handler raises comes out of here, and the next call returns the records.
        Raises OSError.
        """
        if not self._records and not wait_readable(self._fd, timeout_ms):
            return []
        # Not ring_buffer__poll: its epoll sleeps through records that follow one discarded without a wake-up.
        with uninterrupted():
            try:
                self._bpf.ring_buffer__consume(self._ring)
            except OSError as error:
                if error.errno != errno.ECANCELED:
                    raise
        records = self._records.copy()
        self._records.clear()
        return records

    def _append(self, _context: int, address: int, size: int) -> int:
        """Keep a record; the negative result ends `ring_buffer__consume`, with this record taken."""
        self._records.append(ctypes.string_at(address, size))
        return -errno.ECANCELED if len(self._records) >= BATCH else 0
