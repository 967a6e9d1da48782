"""Read and write one BPF map by its file descriptor."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ltrules.engines._libbpf import RING_BUFFER_MAP, library

#: BPF_MAP_TYPE_ARRAY and BPF_MAP_TYPE_PERCPU_ARRAY: all their keys 0, 1, ... are always there.
ARRAY = 2
PERCPU_ARRAY = 6
#: BPF_MAP_TYPE_PERCPU_HASH, PERCPU_ARRAY and LRU_PERCPU_HASH: a value has a part for each possible CPU.
PERCPU = {5, PERCPU_ARRAY, 10}


@dataclass(frozen=True, slots=True)
class Map:
    """A loaded map. Sizes are in bytes; `value_size` is that of one CPU's part."""

    name: str
    fd: int
    type: int
    key_size: int
    value_size: int
    max_entries: int

    @property
    def stride(self) -> int:
        """Return the size of a value as the kernel hands it out: of a per-CPU map all parts, each rounded up to 8."""
        if self.type in PERCPU:
            return -(-self.value_size // 8) * 8 * int(library().libbpf_num_possible_cpus())
        return self.value_size


def map_at(pointer: int) -> Map:
    """Return the Map that libbpf's `struct bpf_map *` stands for."""
    bpf = library()
    return Map(
        bpf.bpf_map__name(pointer).decode(),
        bpf.bpf_map__fd(pointer),
        bpf.bpf_map__type(pointer),
        bpf.bpf_map__key_size(pointer),
        bpf.bpf_map__value_size(pointer),
        bpf.bpf_map__max_entries(pointer),
    )


def lookup(map: Map, key: bytes) -> bytes | None:
    """Return the value of a key, None if there is none. Raises OSError, and ValueError for a key of the wrong size."""
    if len(key) != map.key_size:
        raise ValueError(f"a key of {map.name} has {map.key_size} bytes, not {len(key)}")
    value = ctypes.create_string_buffer(map.stride)
    try:
        library().bpf_map_lookup_elem(map.fd, key, value)
    except FileNotFoundError:
        return None
    return value.raw


def update(map: Map, key: bytes, value: bytes) -> None:
    """Set the whole value of a key. Raises OSError, and ValueError for a value of the wrong size."""
    if len(key) != map.key_size or len(value) != map.stride:
        raise ValueError(f"{map.name} has keys of {map.key_size} and values of {map.stride} bytes")
    library().bpf_map_update_elem(map.fd, key, value, 0)


def items(map: Map) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the map holds; an entry deleted meanwhile may be missed. Raises OSError."""
    key: bytes | None = None
    following = ctypes.create_string_buffer(map.key_size)
    for _ in range(map.max_entries):  # a deleted key sends the kernel back to the first one: never go round for ever
        try:
            library().bpf_map_get_next_key(map.fd, key, following)
        except FileNotFoundError:
            return
        key = following.raw
        value = lookup(map, key)
        if value is not None:
            yield key, value


def values(map: Map) -> bytearray:
    """Return all values of an array, one after the other. Raises OSError, and ValueError for a map that is no array."""
    if map.type not in (ARRAY, PERCPU_ARRAY):
        raise ValueError(f"{map.name} is not an array")
    data = bytearray(map.max_entries * map.stride)
    target = (ctypes.c_char * len(data)).from_buffer(data)
    keys = (ctypes.c_uint32 * map.max_entries)()
    count = ctypes.c_uint32(map.max_entries)
    position = ctypes.c_uint32()
    try:
        library().bpf_map_lookup_batch(map.fd, None, ctypes.byref(position), keys, target, ctypes.byref(count), None)
    except OSError as error:
        if error.errno == errno.ENOENT:  # the last entry was among those read
            return data
        # Older kernels read plain arrays in batches, but not per-CPU ones, or neither.
        for index in range(map.max_entries):
            part = lookup(map, index.to_bytes(4, sys.byteorder))
            data[index * map.stride : (index + 1) * map.stride] = part or bytes(map.stride)
    return data


def memory(map: Map) -> int:
    """Return the bytes of kernel memory that a map takes, by the kernel's own account; 0 where it keeps none.

    Linux 6.1 multiplies keys and values by entries; a ring buffer has neither, but as many bytes as entries.
    """
    least = map.max_entries if map.type == RING_BUFFER_MAP else 0
    for line in Path(f"/proc/self/fdinfo/{map.fd}").read_text().splitlines():
        if line.startswith("memlock:"):
            return max(int(line.split()[1]), least)
    return least
