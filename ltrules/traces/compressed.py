"""Compressed traces, told by their first bytes; what a damaged one holds before the damage is read."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from ltrules.traces.programs import ProgramStream
from ltrules.traces.streams import CHUNK, Ahead, Stream
from ltrules.traces.troubles import Troubles

#: What `xz -9` needs, twice; a file can ask for 4 GiB.
_XZ_MEMORY = 130 << 20
_ZSTD = b"\x28\xb5\x2f\xfd"


class _Unpacker(Protocol):
    """The interface that bz2 and lzma share."""

    @property
    def eof(self) -> bool:
        """Tell whether the compressed stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Tell whether nothing more comes out without more going in."""

    @property
    def unused_data(self) -> bytes:
        """Return what followed the end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most so many bytes."""


class _Gunzip:
    """The same interface for gzip."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # Filled to the brim, there may be more inside even if all input was taken.
        self.needs_input = not self._zlib.unconsumed_tail and len(unpacked) < max_length
        return unpacked


_UNPACKERS: dict[bytes, Callable[[], _Unpacker]] = {
    b"\x1f\x8b": _Gunzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


class Unpacked:
    """A stream of one or more compressed streams, one after another."""

    def __init__(self, packed: Stream, make: Callable[[], _Unpacker], name: str, troubles: Troubles) -> None:
        self._packed, self._make, self._name, self._troubles = packed, make, name, troubles
        self._unpacker = make()
        self._ended = False

    def read(self) -> bytes:
        while not self._ended:
            try:
                data = self._next()
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MemoryError):
                self._end("is damaged")
                return b""
            if data:
                return data
        return b""

    def close(self) -> None:
        self._packed.close()

    def _next(self) -> bytes:
        """Return some unpacked bytes, perhaps none."""
        if self._unpacker.eof:
            # Tapes and block devices are padded with zeros.
            data = self._unpacker.unused_data.lstrip(b"\0") or self._packed.read().lstrip(b"\0")
            if data:
                self._unpacker = self._make()
                return self._unpacker.decompress(data, CHUNK)
            self._ended = True
            return b""
        data = self._packed.read() if self._unpacker.needs_input else b""
        if not data and self._unpacker.needs_input:
            self._end("ends too early")
            return b""
        return self._unpacker.decompress(data, CHUNK)

    def _end(self, what: str) -> None:
        self._ended = True
        self._troubles.cut = f"the compressed data of {self._name} {what}: only what comes before was read"


def unpacked(stream: Ahead, name: str, troubles: Troubles) -> Ahead:
    """Return a stream unpacked if it is compressed, as it is if not; raise InputError if `zstd` is missing."""
    start = stream.start(8)
    for magic, make in _UNPACKERS.items():
        if start.startswith(magic):
            return Ahead(Unpacked(stream, make, name, troubles))
    if start.startswith(_ZSTD):
        return Ahead(ProgramStream(["zstd", "-dcq"], "zstd", troubles, feed=stream))
    return stream
