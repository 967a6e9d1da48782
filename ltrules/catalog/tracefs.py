"""The tracing file system: where it is, which events it lists, and what their `format` files say."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ltrules.catalog.events import Field, Shape
from ltrules.catalog.symbols import as_field_values, symbol_tables
from ltrules.errors import EngineUnavailable, InputError

MOUNT_POINT = Path("/sys/kernel/tracing")
MOUNT_POINTS = (MOUNT_POINT, Path("/sys/kernel/debug/tracing"))
#: A category of records that the tracers write themselves: nothing can be attached to those.
NOT_TRACEPOINTS = "ftrace"
_MOUNTS = Path("/proc/mounts")
_LONGEST_FORMAT = 1 << 20

_LINE = re.compile(r"field:([^;]+);\s*offset:(\d{1,6});\s*size:(\d{1,6});(?:\s*signed:([01]);)?")
_DECLARATION = re.compile(r"(?:(__data_loc|__rel_loc)\s+)?(.*?[\w*\]])\s*\b(\w+)((?:\[[^\]]*\])*)", re.ASCII)
#: Between the arguments of some print texts are tabs and ends of lines.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SIZES = {
    **dict.fromkeys(("char", "unsigned char", "signed char", "u8", "__u8", "s8", "__s8", "uint8_t", "bool"), 1),
    **dict.fromkeys(("short", "unsigned short", "u16", "__u16", "s16", "__s16", "__be16", "__le16", "uint16_t"), 2),
    **dict.fromkeys(("int", "unsigned int", "unsigned", "u32", "__u32", "s32", "__s32", "__be32", "uint32_t"), 4),
    **dict.fromkeys(("long", "unsigned long", "long long", "unsigned long long", "u64", "__u64", "s64", "uint64_t"), 8),
}


def find_tracefs() -> Path | None:
    """Return a mount point of tracefs whose formats this user may read, or None."""
    return next((path for path in (*MOUNT_POINTS, *_mounted()) if _readable(path)), None)


def mount_tracefs() -> Path:
    """Return the mount point of tracefs, mounted if need be; raise EngineUnavailable if that cannot be."""
    found = find_tracefs()
    if found is not None:
        return found
    if os.geteuid() != 0:
        raise EngineUnavailable("tracefs is not mounted or not readable by this user: run as root")
    try:
        done = subprocess.run(
            ["mount", "-t", "tracefs", "nodev", str(MOUNT_POINT)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise EngineUnavailable(f"cannot mount tracefs: the program `mount` does not run: {error.strerror}") from error
    if not _readable(MOUNT_POINT):
        raise EngineUnavailable(f"cannot mount tracefs on {MOUNT_POINT}: does the kernel have it?", log=done.stderr)
    return MOUNT_POINT


def event_names(root: Path) -> list[str]:
    """Return the full names of all events, sorted."""
    events = root / "events"
    return sorted(f"{category}:{name}" for category in _categories(root) for name in _directories(events / category))


def categories_of(root: Path, name: str) -> list[str]:
    """Return the categories that have an event of this name, sorted."""
    return sorted(c for c in _categories(root) if (root / "events" / c / name / "format").exists())


class Format(NamedTuple):
    """What a `format` file says of an event: its fields but the common ones, and how it is printed."""

    fields: dict[str, Field]
    print_text: str


def read_format(root: Path, category: str, name: str) -> Format | None:
    """Return the format of an event, or None if there is none; raise InputError if it cannot be read."""
    path = root / "events" / category / name / "format"
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST_FORMAT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return parse_format(text, str(path))


def parse_format(text: str, origin: str) -> Format:
    """Return what a `format` text says; raise InputError naming the origin if it is none."""
    head, found, print_text = text.partition("\nprint fmt:")
    if not found or "\nformat:\n" not in head:
        raise InputError(f"{origin}: this is not the format of a tracepoint")
    tables = symbol_tables(print_text)
    fields: dict[str, Field] = {}
    for line in head.partition("\nformat:\n")[2].splitlines():
        if not line.strip():
            continue
        field = _parse_field(line.strip(), origin)
        if field.name.startswith("common_"):
            continue
        if field.name in fields:
            raise InputError(f"{origin}: the field {field.name} stands there twice")
        fields[field.name] = _with_symbols(field, tables.get(field.name, {}))
    return Format(fields, _CONTROL.sub(" ", print_text.strip()))


def _with_symbols(field: Field, table: dict[int, str]) -> Field:
    """Return the field with a table of symbols as C has them; only numbers have symbols."""
    if not table or field.shape is not Shape.INT or field.pointer:
        return field
    return dataclasses.replace(field, symbols=as_field_values(table, field.size, field.signed))


def _parse_field(line: str, origin: str) -> Field:
    found = _LINE.fullmatch(line)
    declared = _DECLARATION.fullmatch(found[1].strip()) if found else None
    if found is None or declared is None:
        raise InputError(f"{origin}: this line describes no field: {line[:80]}")
    location, base, name, dimensions = declared.groups()
    offset, size, signed = int(found[2]), int(found[3]), found[4] == "1"
    c_type = f"{base}{dimensions}"
    if location:
        c_type = f"{location} {c_type}"
        shape = Shape.DYNAMIC_STRING if c_type == "__data_loc char[]" else Shape.OTHER
        return Field(name, c_type, shape, offset, size, signed)
    if dimensions:
        shape = Shape.STRING if base in ("char", "const char") and size else Shape.OTHER
        return Field(name, c_type, shape, offset, size, signed, element_size=_element_size(base, dimensions, size))
    pointer = base.endswith("*")
    is_struct = base.removeprefix("const ").startswith(("struct ", "union ")) and not pointer
    shape = Shape.INT if size in (1, 2, 4, 8) and not is_struct else Shape.OTHER
    return Field(name, c_type, shape, offset, size, signed, pointer)


def _element_size(base: str, dimensions: str, size: int) -> int:
    """Return the size of an element: by the length where it is a number, else by the type; 0 if neither is known."""
    length = dimensions[1:-1]
    if length.isdecimal() and 0 < int(length[:6]) <= size:
        return size // int(length[:6])
    return 8 if base.endswith("*") else _SIZES.get(base.removeprefix("const "), 0)


def _categories(root: Path) -> list[str]:
    return [name for name in _directories(root / "events") if name != NOT_TRACEPOINTS]


def _directories(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return []


def _readable(root: Path) -> bool:
    return os.access(root / "events", os.R_OK | os.X_OK) and os.access(root / "events" / "header_page", os.R_OK)


def _mounted() -> Iterator[Path]:
    """Iterate over the mount points of tracefs anywhere else."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for words in (line.split() for line in lines):
        if len(words) > 2 and words[2] == "tracefs":
            yield Path(words[1].encode().decode("unicode_escape"))
