"""Catalogs in files: a kernel's events, for machines that are not that kernel.

The file is JSON, compressed where its name ends in `.gz`, and the same catalog always gives the same bytes. Events of a
class share their fields, so `layouts` holds each list of fields once, and `prints` each print text.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ltrules.catalog.events import Catalog, Event, Field, Shape
from ltrules.errors import InputError

VERSION = 1
_LARGEST = 64 << 20

_NAME = re.compile(r"[A-Za-z_]\w{0,255}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")
#: The longest of real ones has some 5,000 characters.
_PRINT_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,32768}")
_EVENT = re.compile(r"[A-Za-z0-9_][\w.-]{0,127}:[A-Za-z_]\w{0,127}", re.ASCII)
#: What a C type is made of: a catalog comes from anywhere, and types end up in generated C.
_C_TYPE = re.compile(r"[\w *()\[\]{}.,+-]{1,256}", re.ASCII)


class SavedCatalog:
    """A catalog from a file; an event is checked when it is first asked for, with InputError where it is wrong."""

    def __init__(self, origin: str, content: dict[str, Any]) -> None:
        self._origin = origin
        self._content = content
        self._found: dict[str, Event] = {}
        self._by_name: dict[str, list[str]] = {}
        for full_name in sorted(content["events"]):
            self._by_name.setdefault(full_name.partition(":")[2], []).append(full_name)

    @property
    def description(self) -> str:
        return f"saved, {self._content['kernel']}"

    @property
    def machine(self) -> str:
        machine: str = self._content["machine"]
        return machine

    def find(self, name: str) -> tuple[Event, ...]:
        if ":" not in name:
            return tuple(self._event(full_name) for full_name in self._by_name.get(name, ()))
        return (self._event(name),) if name in self._content["events"] else ()

    def names(self) -> Iterator[str]:
        return iter(sorted(self._content["events"]))

    def has_path(self, struct: str, path: str) -> bool | None:
        known: dict[str, bool] = self._content["paths"].get(struct, {})
        return known.get(path)

    def _event(self, full_name: str) -> Event:
        if full_name not in self._found:
            try:
                self._found[full_name] = self._checked(full_name)
            except KeyError as error:
                raise InputError(f"{self._origin}: the event {full_name} is damaged: {error} is missing") from error
            except (TypeError, AttributeError) as error:
                raise InputError(f"{self._origin}: the event {full_name} is not built like an event") from error
            except ValueError as error:
                raise InputError(f"{self._origin}: the event {full_name} is damaged: {error}") from error
        return self._found[full_name]

    def _checked(self, full_name: str) -> Event:
        content = self._content["events"][full_name]
        number, layouts = _integer(content["layout"], 0, 1 << 20), self._content["layouts"]
        if number >= len(layouts):
            raise ValueError(f"there is no layout {number}")
        fields = {field.name: field for field in map(_field, layouts[number])}
        if len(fields) != len(layouts[number]):
            raise ValueError("a field stands there twice")
        record, arguments = content.get("record"), content.get("arguments")
        if not isinstance(arguments, list | None):
            raise ValueError("its arguments are no list")
        printed, prints = content.get("print"), self._content["prints"]
        if printed is not None and _integer(printed, 0, 1 << 20) >= len(prints):
            raise ValueError(f"there is no print text {printed}")
        category, _, name = full_name.partition(":")
        return Event(
            category,
            name,
            fields,
            None if record is None else _text(record, _NAME),
            None if arguments is None else tuple(_text(argument, _C_TYPE) for argument in arguments),
            "" if printed is None else _text(prints[printed], _PRINT_TEXT),
        )


def load_catalog(path: Path) -> Catalog:
    """Read a saved catalog; raise InputError if it cannot be read or is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if raw[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as unpacked:
                raw = unpacked.read(_LARGEST + 1)
    except EOFError as error:
        raise InputError(f"{path}: the file is cut short") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the compressed data is damaged") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > _LARGEST:
        raise InputError(f"{path}: a catalog of more than {_LARGEST >> 20} MiB is refused")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: this is not JSON") from error
    return SavedCatalog(str(path), _checked_frame(content, str(path)))


def save_catalog(catalog: Catalog, path: Path, paths: Iterable[tuple[str, str]] = ()) -> None:
    """Write a catalog, with what it says of each (struct, member path) given; raise InputError if that fails."""
    layouts: dict[str, int] = {}
    prints: dict[str, int] = {}
    events: dict[str, dict[str, Any]] = {}
    for full_name in catalog.names():
        for event in catalog.find(full_name):
            layout = json.dumps([_field_content(field) for field in event.fields.values()])
            content: dict[str, Any] = {"layout": layouts.setdefault(layout, len(layouts))}
            if event.record is not None:
                content["record"] = event.record
            if event.raw_arguments is not None:
                content["arguments"] = list(event.raw_arguments)
            if event.print_text:
                content["print"] = prints.setdefault(event.print_text, len(prints))
            events[full_name] = content
    known: dict[str, dict[str, bool]] = {}
    for struct, member_path in sorted(set(paths)):
        truth = catalog.has_path(struct, member_path)
        if truth is not None:
            known.setdefault(struct, {})[member_path] = truth
    whole = {
        "ltrules_catalog": VERSION,
        "kernel": catalog.description.rpartition(", ")[2],
        "machine": catalog.machine,
        "layouts": [json.loads(layout) for layout in layouts],
        "prints": list(prints),
        "events": events,
        "paths": known,
    }
    data = (json.dumps(whole, indent=1, ensure_ascii=True) + "\n").encode()
    try:
        path.write_bytes(_compressed(data) if path.name.endswith(".gz") else data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _compressed(data: bytes) -> bytes:
    """Compress without the name and the time that make two files of the same data differ."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(data)
    return packed.getvalue()


def _field_content(field: Field) -> dict[str, Any]:
    """Return a field as it is saved: what is usual is left out."""
    content: dict[str, Any] = {"name": field.name, "type": field.c_type, "offset": field.offset, "size": field.size}
    if field.shape is not Shape.INT:
        content["shape"] = field.shape.value
    if field.signed:
        content["signed"] = True
    if field.pointer:
        content["pointer"] = True
    if field.element_size:
        content["element"] = field.element_size
    if field.symbols:
        content["symbols"] = {str(value): field.symbols[value] for value in sorted(field.symbols)}
    return content


def _field(content: dict[str, Any]) -> Field:
    symbols = content.get("symbols", {})
    return Field(
        name=_text(content["name"], _NAME),
        c_type=_text(content["type"], _C_TYPE),
        shape=Shape(content.get("shape", Shape.INT.value)),
        offset=_integer(content["offset"], 0, 1 << 20),
        size=_integer(content["size"], 0, 1 << 20),
        signed=_truth(content.get("signed", False)),
        pointer=_truth(content.get("pointer", False)),
        element_size=_integer(content.get("element", 0), 0, 1 << 20),
        symbols={int(_text(value, _NUMBER)): _text(name, _PRINTABLE) for value, name in symbols.items()},
    )


def _checked_frame(content: Any, origin: str) -> dict[str, Any]:
    """Check all but the insides of events; return the content, with what older files do not have."""
    if not isinstance(content, dict) or "ltrules_catalog" not in content:
        raise InputError(f"{origin}: this is not a saved catalog")
    if content["ltrules_catalog"] != VERSION:
        raise InputError(f"{origin}: this catalog is of version {content['ltrules_catalog']!r:.20}, not {VERSION}")
    content.setdefault("paths", {})
    content.setdefault("prints", [])
    kinds = {"kernel": str, "machine": str, "layouts": list, "prints": list, "events": dict, "paths": dict}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise InputError(f"{origin}: the catalog is damaged: `{name}` is missing or of the wrong type")
    for name in ("kernel", "machine"):
        if not _PRINTABLE.fullmatch(content[name]):
            raise InputError(f"{origin}: the catalog is damaged: `{name}` is not a name")
    for full_name in content["events"]:
        if not _EVENT.fullmatch(full_name):
            raise InputError(f"{origin}: the catalog is damaged: {full_name[:80]!r} is not the name of an event")
    for known in content["paths"].values():
        if not isinstance(known, dict) or not all(isinstance(truth, bool) for truth in known.values()):
            raise InputError(f"{origin}: the catalog is damaged: `paths` holds something else than true and false")
    return content


def _integer(value: Any, low: int, end: int) -> int:
    if type(value) is not int or not low <= value < end:
        raise ValueError(f"{value!r:.40} is not a number from {low} to {end - 1}")
    return value


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r:.80} does not belong there")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r:.40} is neither true nor false")
    return value
