"""Where each type of a BTF blob starts, and the few names that are asked for: one scan, kept in the cache.

The scan also proves that every type lies inside the type section, so that readers of an indexed type need no further
bounds checks on it.
"""

from __future__ import annotations

import hashlib
import re
import struct
from array import array
from dataclasses import dataclass
from enum import IntEnum
from mmap import mmap

from ltrules import cache
from ltrules.errors import InputError

Blob = bytes | mmap

_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_STAMP_BYTES = 16
#: The functions worth an index: wrappers of system calls, and the one that each class of tracepoints has.
_FUNCTION = re.compile(rb"(?:(?:__[a-z0-9]+_)?sys_|__bpf_trace_)[a-z]\w*")


class BtfError(InputError):
    """The BTF cannot be read, or is corrupt."""


class Kind(IntEnum):
    """BTF_KIND_* of include/uapi/linux/btf.h."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


#: Words after the three that start every type: a fixed number, and a number for each of its `vlen` members.
_FIXED = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
_EACH = {Kind.STRUCT: 3, Kind.UNION: 3, Kind.ENUM: 2, Kind.FUNC_PROTO: 2, Kind.DATASEC: 3, Kind.ENUM64: 3}
#: An unknown kind has an unknown length: a step past any end makes the scan stop there.
_BEYOND = 1 << 40
_STEP = [3 + _FIXED.get(Kind(k), 0) if 0 < k < len(Kind) else _BEYOND for k in range(32)]
_PER_MEMBER = [_EACH.get(Kind(k), 0) if k < len(Kind) else 0 for k in range(32)]


@dataclass(frozen=True, slots=True)
class Sections:
    """The type section as 32-bit words, and the string section, of one blob."""

    words: memoryview
    strings: memoryview


@dataclass(frozen=True, slots=True)
class Index:
    """The word at which type N starts is `offsets[N - 1]`. `names` has a line `letter name id` for each name."""

    offsets: array[int]
    names: bytes

    def find(self, letter: str, name: str) -> int | None:
        """Return the id of a struct ("s"), a tracepoint's typedef ("t") or a function ("f")."""
        wanted = f"\n{letter} {name} ".encode()
        at = self.names.find(wanted)
        if at < 0:
            return None
        start = at + len(wanted)
        return int(self.names[start : self.names.index(b"\n", start)])

    def starting(self, letter: str, prefix: str) -> dict[str, int]:
        """Return the names of one letter that start with a prefix, and their ids."""
        pattern = rf"\n{letter} ({re.escape(prefix)}\w*) (\d+)(?=\n)".encode()
        return {name.decode(): int(number) for name, number in re.findall(pattern, self.names)}


def sections(blob: Blob) -> Sections:
    """Return the sections of a blob; raise BtfError if it is not BTF of this machine's byte order."""
    if len(blob) < _HEADER.size:
        raise BtfError("the BTF is too short to have a header")
    magic, version, _, header, type_at, type_bytes, string_at, string_bytes = _HEADER.unpack(blob[: _HEADER.size])
    if magic != _MAGIC or version != 1:
        raise BtfError("this is not BTF of version 1 in this machine's byte order")
    view = memoryview(blob)[header:]
    if type_bytes % 4 or type_at + type_bytes > len(view) or string_at + string_bytes > len(view):
        raise BtfError("the BTF is cut short: its header names sections beyond its end")
    strings = view[string_at : string_at + string_bytes]
    if not string_bytes or strings[-1] != 0:
        raise BtfError("the strings of the BTF do not end with NUL")
    return Sections(view[type_at : type_at + type_bytes].cast("I"), strings)


def indexed(blob: Blob, found: Sections) -> Index:
    """Return the index of a blob, from the cache if it was scanned before."""
    name = f"btf-{hashlib.blake2b(blob, digest_size=_STAMP_BYTES).hexdigest()}.index"
    kept = cache.read(name)
    index = _unpack(kept) if kept is not None else None
    if index is None:
        index = scan(found)
        cache.write(name, _pack(index))
    return index


def scan(found: Sections) -> Index:
    """Walk over all types once; raise BtfError if they do not fill their section exactly."""
    words = array("I", found.words.tobytes())
    starts: list[int] = []
    at, last = 0, len(words) - 2
    step, per_member = _STEP, _PER_MEMBER
    while at < last:
        starts.append(at)
        info = words[at + 1]
        kind = info >> 24 & 31
        at += step[kind] + per_member[kind] * (info & 0xFFFF)
    if at != len(words):
        raise BtfError(f"type {len(starts)} of the BTF is of an unknown kind or reaches beyond the end of the types")
    offsets = array("I", starts)
    return Index(offsets, _names(words, offsets, found.strings.tobytes()))


def _names(words: array[int], offsets: array[int], strings: bytes) -> bytes:
    """Return the lines of `Index.names`; where a name stands twice, lookups see the first."""
    lines = [b""]
    for number, at in enumerate(offsets, 1):
        kind = words[at + 1] >> 24 & 31
        if kind not in (Kind.STRUCT, Kind.TYPEDEF, Kind.FUNC):
            continue
        start = words[at]
        if not start:
            continue
        name = strings[start : strings.find(0, start)]
        if kind == Kind.STRUCT:
            if name.isalnum() or name.replace(b"_", b"").isalnum():
                lines.append(b"s %b %d" % (name, number))
        elif kind == Kind.TYPEDEF:
            if name.startswith(b"btf_trace_") and name.replace(b"_", b"").isalnum():
                lines.append(b"t %b %d" % (name, number))
        elif _FUNCTION.fullmatch(name):
            lines.append(b"f %b %d" % (name, number))
    lines.append(b"")
    return b"\n".join(lines)


def _pack(index: Index) -> bytes:
    body = struct.pack("=I", len(index.offsets)) + index.offsets.tobytes() + index.names
    return hashlib.blake2b(body, digest_size=_STAMP_BYTES).digest() + body


def _unpack(kept: bytes) -> Index | None:
    """Return what `_pack` was given, or None if the text was damaged since."""
    stamp, body = kept[:_STAMP_BYTES], kept[_STAMP_BYTES:]
    if len(body) < 4 or hashlib.blake2b(body, digest_size=_STAMP_BYTES).digest() != stamp:
        return None
    (count,) = struct.unpack_from("=I", body)
    offsets = array("I")
    offsets.frombytes(body[4 : 4 + 4 * count])
    return Index(offsets, body[4 + 4 * count :])
