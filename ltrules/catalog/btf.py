"""What the kernel's own type information (BTF) says: members of structs, and the arguments of tracepoints."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ltrules.catalog.btf_index import Blob, BtfError, Index, Kind, indexed, sections

__all__ = ["KERNEL_BTF", "Btf", "BtfError", "Kind", "Member", "open_btf"]

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

#: Chains of typedefs, qualifiers, pointers and arrays are short in C; in corrupt data they may be loops.
_LONGEST_CHAIN = 64
_POINTER_BYTES = struct.calcsize("P")
_TRANSPARENT = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
_SIGNED_INT = 1
#: Compilers spell these their own way; here they are as the kernel's sources have them.
_SPELLINGS = {
    "long int": "long",
    "long unsigned int": "unsigned long",
    "long long int": "long long",
    "long long unsigned int": "unsigned long long",
    "short int": "short",
    "short unsigned int": "unsigned short",
    "__int128 unsigned": "unsigned __int128",
    "_Bool": "bool",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct or union; an anonymous one has an empty name.

    `offset` is in bytes, that of the containing byte for a bit field. Where the member is an array, `kind` and `signed`
    are those of one element, and there are `length` of them (0 for `[]`), `element_size` bytes each; elsewhere `length`
    is None.
    """

    name: str
    c_type: str
    offset: int
    bit_size: int
    kind: Kind
    signed: bool
    length: int | None
    element_size: int
    type_id: int


@dataclass(frozen=True, slots=True)
class _Type:
    """The head of a type; `value` is its size in bytes or the type that it refers to, `at` the word after the head."""

    kind: Kind
    name_at: int
    count: int
    flag: bool
    value: int
    at: int


_VOID = _Type(Kind.VOID, 0, 0, False, 0, 0)


class Btf:
    """One blob of BTF. Every method raises BtfError where the blob is corrupt."""

    def __init__(self, blob: Blob) -> None:
        found = sections(blob)
        self._words, self._strings, self._blob = found.words, found.strings, blob
        self._index: Index = indexed(blob, found)

    def has_struct(self, name: str) -> bool:
        """Tell whether there is a struct of this name."""
        return self._index.find("s", name) is not None

    def has_function(self, name: str) -> bool:
        """Tell whether there is a function of this name; of all, only `*sys_*` and `__bpf_trace_*` are known."""
        return self._index.find("f", name) is not None

    def structs(self, prefix: str) -> dict[str, tuple[int, int]]:
        """Return how many members, and bytes, each struct has whose name starts with a prefix."""
        found = {name: self._type(number) for name, number in self._index.starting("s", prefix).items()}
        return {name: (each.count, each.value) for name, each in found.items()}

    def members(self, struct_name: str) -> tuple[Member, ...] | None:
        """Return the members of a struct in their order, or None if there is no such struct."""
        number = self._index.find("s", struct_name)
        return None if number is None else tuple(self._members(self._type(number)))

    def tracepoint(self, name: str) -> tuple[str, ...] | None:
        """Return the C types of a raw tracepoint's arguments, without the leading `void *`; None if there is none."""
        number = self._index.find("t", f"btf_trace_{name}")
        if number is None:
            return None
        pointer = self._resolve(number)[1]
        return None if pointer.kind is not Kind.PTR else self._arguments(pointer.value)

    def tracepoint_class(self, name: str) -> tuple[str, ...] | None:
        """Return the same for a class of tracepoints (that of `trace_event_raw_NAME`)."""
        number = self._index.find("f", f"__bpf_trace_{name}")
        return None if number is None else self._arguments(self._type(number).value)

    def has_path(self, struct_name: str, path: str) -> bool:
        """Tell whether a struct has a dotted member path, through pointers and anonymous members."""
        number = self._index.find("s", struct_name)
        for name in path.split("."):
            if number is None:
                return False
            number = self._follow(number, name)
        return number is not None

    # ------------------------------------------------------------------------------------- reading
    def _type(self, number: int) -> _Type:
        if number == 0:
            return _VOID
        offsets = self._index.offsets
        if number > len(offsets):
            raise BtfError(f"the BTF is corrupt: it refers to type {number} of {len(offsets)}")
        at = offsets[number - 1]
        info = self._words[at + 1]
        return _Type(
            Kind(info >> 24 & 31), self._words[at], info & 0xFFFF, bool(info >> 31), self._words[at + 2], at + 3
        )

    def _string(self, at: int) -> str:
        if at >= len(self._strings):
            raise BtfError(f"the BTF is corrupt: a name starts at {at}, beyond its strings")
        end = at
        while self._strings[end]:
            end += 1
        return self._strings[at:end].tobytes().decode("ascii", "replace")

    def _resolve(self, number: int) -> tuple[int, _Type]:
        """Follow typedefs and qualifiers to the type that they stand for."""
        for _ in range(_LONGEST_CHAIN):
            found = self._type(number)
            if found.kind not in _TRANSPARENT:
                return number, found
            number = found.value
        raise BtfError("the BTF is corrupt: a chain of typedefs has no end")

    def _element(self, number: int) -> tuple[_Type, int | None]:
        """Return the type in the innermost array, and how many there are; None for what is no array."""
        length: int | None = None
        for _ in range(_LONGEST_CHAIN):
            found = self._resolve(number)[1]
            if found.kind is not Kind.ARRAY:
                return found, length
            length = (1 if length is None else length) * self._words[found.at + 2]
            number = self._words[found.at]
        raise BtfError("the BTF is corrupt: an array of arrays has no end")

    def _members(self, owner: _Type) -> Iterator[Member]:
        for at in range(owner.at, owner.at + 3 * owner.count, 3):
            name_at, number, where = self._words[at], self._words[at + 1], self._words[at + 2]
            # With the flag set, the high 8 bits are the width of a bit field, 0 for an ordinary member.
            width, where = (where >> 24, where & 0xFFFFFF) if owner.flag else (0, where)
            element, length = self._element(number)
            size = _size(element)
            yield Member(
                name=self._string(name_at),
                c_type=self._spelling(number),
                offset=where // 8,
                bit_size=width or 8 * size * (1 if length is None else length),
                kind=element.kind,
                signed=self._signed(element),
                length=length,
                element_size=0 if length is None else size,
                type_id=number,
            )

    def _signed(self, found: _Type) -> bool:
        if found.kind is Kind.INT:
            return bool(self._words[found.at] >> 24 & _SIGNED_INT)
        return found.kind in (Kind.ENUM, Kind.ENUM64) and found.flag

    def _arguments(self, number: int) -> tuple[str, ...] | None:
        prototype = self._type(number)
        if prototype.kind is not Kind.FUNC_PROTO:
            return None
        numbers = [self._words[prototype.at + 2 * i + 1] for i in range(1, prototype.count)]
        return tuple(self._spelling(n) for n in numbers)

    def _follow(self, number: int, name: str) -> int | None:
        """Return the type of a member, looked for in the anonymous members too, or None."""
        number, found = self._resolve(number)
        if found.kind is Kind.PTR:
            number, found = self._resolve(found.value)
        seen, waiting = {number}, [found]
        while waiting:
            owner = waiting.pop()
            if owner.kind not in (Kind.STRUCT, Kind.UNION):
                continue
            for at in range(owner.at, owner.at + 3 * owner.count, 3):
                name_at, inner = self._words[at], self._words[at + 1]
                if name_at == 0 and inner not in seen:
                    seen.add(inner)
                    waiting.append(self._resolve(inner)[1])
                elif name_at and self._string(name_at) == name:
                    return inner
        return None

    def _spelling(self, number: int, depth: int = 0) -> str:
        """Return a type as C would have it; a function's arguments are left out."""
        if depth > _LONGEST_CHAIN:
            raise BtfError("the BTF is corrupt: a chain of types has no end")
        found = self._type(number)
        match found.kind:
            case Kind.PTR | Kind.CONST | Kind.VOLATILE | Kind.RESTRICT | Kind.TYPE_TAG:
                return _derived(found.kind, self._spelling(found.value, depth + 1))
            case Kind.ARRAY:
                element, length = self._spelling(self._words[found.at], depth + 1), self._words[found.at + 2]
                base, bracket, rest = element.partition("[")
                return f"{base}[{length or ''}]{bracket}{rest}"
            case Kind.FUNC_PROTO:
                return f"{self._spelling(found.value, depth + 1)} (...)"
            case Kind.VOID:
                return "void"
        name = self._string(found.name_at)
        match found.kind:
            case Kind.STRUCT | Kind.UNION | Kind.ENUM | Kind.ENUM64:
                tag = {Kind.STRUCT: "struct", Kind.UNION: "union"}.get(found.kind, "enum")
                return f"{tag} {name or '{...}'}"
            case Kind.FWD:
                return f"{'union' if found.flag else 'struct'} {name}"
        return _SPELLINGS.get(name, name)


def open_btf(path: Path = KERNEL_BTF) -> Btf:
    """Open a file of BTF, the running kernel's by default; raise BtfError if that cannot be."""
    try:
        with path.open("rb") as file:
            try:
                # Private, though nobody writes: the kernel's own BTF cannot be mapped shared.
                blob: Blob = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            except (OSError, ValueError):  # before 6.16 it cannot be mapped at all
                blob = file.read()
    except OSError as error:
        raise BtfError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Btf(blob)
    except BtfError as error:
        raise BtfError(f"{path}: {error}") from error


def _size(found: _Type) -> int:
    """Return the size in bytes of a resolved type that is no array; 0 for one that has none."""
    if found.kind is Kind.PTR:
        return _POINTER_BYTES
    sized = (Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT)
    return found.value if found.kind in sized else 0


def _derived(kind: Kind, inner: str) -> str:
    """Spell a pointer to a type, or a type with a qualifier."""
    match kind:
        case Kind.PTR if inner.endswith(" (...)"):
            return f"{inner.removesuffix(' (...)')} (*)(...)"
        case Kind.PTR if "[" in inner:
            base, bracket, rest = inner.partition("[")
            return f"{base} (*){bracket}{rest}"
        case Kind.PTR:
            return f"{inner}*" if inner.endswith("*") else f"{inner} *"
        case Kind.CONST | Kind.VOLATILE:
            word = "const" if kind is Kind.CONST else "volatile"
            return f"{inner}{word}" if inner.endswith("*") else f"{word} {inner}"
    return inner
