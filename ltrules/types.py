"""The types of the rule language: what an expression may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The language's kinds of value."""

    INT = "int"
    DURATION = "duration"  # ns, signed
    SIZE = "size"  # bytes
    BOOL = "bool"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Type:
    """A type. `size` is the room of a string in bytes, NUL included; `signed` tells how 64 bits are read."""

    kind: Kind
    signed: bool = True
    size: int = 8

    def __str__(self) -> str:
        return f"string({self.size})" if self.kind is Kind.STRING else self.kind.value

    @property
    def numeric(self) -> bool:
        return self.kind in (Kind.INT, Kind.DURATION, Kind.SIZE)

    @property
    def words(self) -> int:
        """How many 64-bit words a value takes in a key or a record."""
        return (self.size + 7) // 8 if self.kind is Kind.STRING else 1


INT = Type(Kind.INT)
UNSIGNED = Type(Kind.INT, signed=False)
DURATION = Type(Kind.DURATION)
SIZE = Type(Kind.SIZE)
BOOL = Type(Kind.BOOL)

#: Room for the strings that have no size of their own: parameters, and fields of variable length.
STRING_BYTES = 64
#: TASK_COMM_LEN in include/linux/sched.h.
COMM_BYTES = 16


def string(size: int) -> Type:
    """Return the type of strings of at most `size` bytes, NUL included."""
    return Type(Kind.STRING, signed=False, size=size)
