"""From what was printed back to the field: print texts run backwards.

A print text may show a field in parts (`REC->dev >> 20` and `REC->dev & 0xfffff`), as symbols, or as words that
depend on it. Each printed argument tells some bits of one field, and what it does not tell is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ltrules.traces.cexpr import Call, Node, Number, Ref, Text, Word

ALL = (1 << 64) - 1
_STRINGS = ("__get_str", "__get_rel_str")
_SYMBOLS = ("__print_symbolic", "__print_symbolic_u64")
_FLAGS = ("__print_flags", "__print_flags_u64")
#: Of 64 bits with 0x before them.
_LONGEST_HEX = 18


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits of a number: `value` where `known` has bits."""

    field: str
    value: int
    known: int


def shown(node: Node, mask: int = ALL) -> dict[str, int]:
    """Return which bits of which fields an argument may tell; for a string field, all."""
    match node:
        case Ref(name=name):
            return {name: mask}
        case Call(name=function, arguments=(Word(name=name),)) if function in _STRINGS:
            return {name: ALL}
        case Call(name="&", arguments=(inner, Number(value=bits)) | (Number(value=bits), inner)):
            return shown(inner, mask & bits)
        case Call(name=">>", arguments=(inner, Number(value=count))) if count < 64:
            return shown(inner, mask << count & ALL)
        case Call(arguments=arguments):
            found: dict[str, int] = {}
            for each in arguments:
                for name, bits in shown(each).items():
                    found[name] = found.get(name, 0) | bits
            return found
    return {}


def language(node: Node, lazy: bool) -> str | None:
    """Return a pattern of all that an argument can be printed as, None for free text.

    It takes the shortest text first if it is lazy, else the longest.
    """
    match node:
        case Text(text=text):
            return re.escape(text)
        case Call(name="?", arguments=(_, yes, no)):
            first, second = language(yes, lazy), language(no, lazy)
            if first is None or second is None:
                return None
            return f"(?:{'|'.join(sorted((first, second), key=len, reverse=not lazy))})"
        case Call(name=function, arguments=(_, *entries)) if function in _SYMBOLS:
            return _one_of(entries, lazy)
        case Call(name=function, arguments=(_, Text(text=separator), *entries)) if function in _FLAGS:
            one, mark = _one_of(entries, lazy), "?" if lazy else ""
            return f"(?:{one}(?:{re.escape(separator)}{one})*{mark})?{mark}"
    return None


def _one_of(entries: list[Node], lazy: bool) -> str:
    """Return a pattern of the names of a table, and of a number without a name."""
    names = sorted(set().union(*map(_names, entries)), key=len, reverse=not lazy)
    number = f"0x[0-9a-f]{{1,16}}{'?' if lazy else ''}"
    return f"(?:{'|'.join([*map(re.escape, names), number])})"


def of_number(node: Node, value: int, known: int = ALL) -> Piece | None:
    """Return what is known when an expression has a value, of which some bits are known."""
    whole = known == ALL
    match node:
        case Ref(name=name):
            return Piece(name, value & known, known)
        case Call(name="&", arguments=(inner, Number(value=mask)) | (Number(value=mask), inner)):
            return of_number(inner, value, known & mask)
        case Call(name=">>", arguments=(inner, Number(value=count))) if count < 64:
            return of_number(inner, value << count, known << count & ALL)
        case Call(name="<<", arguments=(inner, Number(value=count))) if count < 64:
            return of_number(inner, (value & ALL) >> count, known >> count)
        case Call(name="+", arguments=(inner, Number(value=more)) | (Number(value=more), inner)) if whole:
            return of_number(inner, value - more)
        case Call(name="-", arguments=(inner, Number(value=less))) if whole:
            return of_number(inner, value + less)
        case Call(name="-", arguments=(inner,)) if whole:
            return of_number(inner, -value)
        case Call(name="~", arguments=(inner,)):
            return of_number(inner, ~value, known)
    return None


def of_text(node: Node, text: str) -> Piece | tuple[str, str] | None:
    """Return what is known when an argument is printed as a text; (field, text) for a string."""
    match node:
        case Ref(name=name):
            return name, text
        case Call(name=function, arguments=(Word(name=name),)) if function in _STRINGS:
            return name, text
        case Call(name=function, arguments=(inner, *entries)) if function in _SYMBOLS:
            value = _symbol(text, entries)
            return None if value is None else of_number(inner, value)
        case Call(name=function, arguments=(inner, Text(text=separator), *entries)) if function in _FLAGS:
            value = _flags(text, separator, entries)
            return None if value is None else of_number(inner, value)
        case Call(name="?", arguments=(condition, yes, no)):
            return _chosen(condition, yes, no, text)
    return None


def _chosen(condition: Node, yes: Node, no: Node, text: str) -> Piece | tuple[str, str] | None:
    """Return what is known from `condition ? yes : no`: the condition from a word, the field from anything else."""
    if yes == no:
        return None
    for node, other, truth in ((no, yes, False), (yes, no, True)):
        if isinstance(node, Text) and node.text == text and text not in _names(other):
            return _condition(condition, truth)
    candidates = [node for node in (yes, no) if not isinstance(node, Text)]
    return of_text(candidates[0], text) if len(candidates) == 1 else None


def _condition(node: Node, truth: bool) -> Piece | None:
    """Return what is known when a condition is true, or false."""
    match node:
        case Call(name="!", arguments=(inner,)):
            return _condition(inner, not truth)
        case Call(name="==", arguments=(inner, Number(value=value))) if truth:
            return of_number(inner, value)
        case Call(name="!=", arguments=(inner, Number(value=value))) if not truth:
            return of_number(inner, value)
        case Call(name="==" | "!=" | "<" | ">" | "<=" | ">=" | "&&" | "||"):
            return None
    if not truth:
        return of_number(node, 0)
    bits = list(shown(node).items())
    # Of a number that is not 0 one bit must be 1: which, is known only where there is just one.
    is_bit = isinstance(node, Call) and node.name == "&" and len(bits) == 1 and bits[0][1].bit_count() == 1
    return Piece(bits[0][0], bits[0][1], bits[0][1]) if is_bit else None


def _entries(entries: list[Node]) -> Iterator[tuple[int, str]]:
    for entry in entries:
        match entry:
            case Call(name="{", arguments=(Number(value=value), Text(text=name))):
                yield value, name


def _names(node: Node) -> set[str]:
    """Return the texts and the names of tables that stand in an argument."""
    match node:
        case Text(text=text):
            return {text}
        case Call(arguments=arguments):
            return set().union(*map(_names, arguments))
    return set()


def _symbol(text: str, entries: list[Node]) -> int | None:
    """Return the value that a name stands for; the kernel prints values without a name in hexadecimal."""
    values = [value for value, name in _entries(entries) if name == text]
    return values[0] if len(values) == 1 else hexadecimal(text) if not values else None


def _flags(text: str, separator: str, entries: list[Node]) -> int | None:
    """Return the flags that names stand for; bits without a name are printed in hexadecimal."""
    value = 0
    for part in text.split(separator) if separator else text:
        bits = _symbol(part, entries) if part else 0
        if bits is None:
            return None
        value |= bits
    return value


def hexadecimal(text: str) -> int | None:
    """Return the number that a text such as `0x1f` is, None if it is none."""
    if not text.startswith("0x") or len(text) > _LONGEST_HEX:
        return None
    try:
        return int(text, 16)
    except ValueError:
        return None
