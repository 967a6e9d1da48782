"""Expressions to C: 64-bit integers inline, strings as zero-padded buffers that are filled before they are used."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bpf_codegen.plan import (
    Access,
    Context,
    Expr,
    FieldValue,
    Latency,
    Member,
    Number,
    Operation,
    Outcome,
    Program,
    Stored,
    Text,
)

#: How tightly an operator binds in C: higher binds tighter; an operand that binds less needs parentheses.
_PRECEDENCE = {
    "or": 4, "and": 5, "|": 6, "^": 7, "&": 8, "==": 9, "!=": 9, "<": 10, "<=": 10, ">": 10, ">=": 10,
    "<<": 11, ">>": 11, "+": 12, "-": 12, "*": 13,
}  # fmt: skip
_UNARY = 15
_ATOM = 16
_SPELLING = {"or": "||", "and": "&&"}
_DIVISIONS = {"/": "divide", "%": "remainder"}
_SIGNED_NUMBER = re.compile(r"-?\d+LL")
_ORDERED = {"<", "<=", ">", ">=", ">>"}

#: What the running context knows, in C; those in `_NARROW` are 32 bits wide there.
_NARROW = {"tid", "uid", "cpu", "ppid"}
_CONTEXT = {
    "tid": "(u32)bpf_get_current_pid_tgid()",
    "tgid": "bpf_get_current_pid_tgid() >> 32",
    "uid": "(u32)bpf_get_current_uid_gid()",
    "cpu": "bpf_get_smp_processor_id()",
    "node": "bpf_get_numa_node_id()",
    "cgroup": "bpf_get_current_cgroup_id()",
    "boot": "bpf_ktime_get_boot_ns()",
    "ppid": "parent_tgid()",
}


def walk(expr: Expr | None) -> Iterator[Expr]:
    """Iterate over an expression and all that it is made of."""
    if expr is None:
        return
    yield expr
    if isinstance(expr, Operation):
        for operand in expr.operands:
            yield from walk(operand)


def words(data: bytes) -> list[int]:
    """Return the 64-bit words of a string, zero-padded, as the kernel will compare them (host byte order)."""
    padded = data.ljust(-(-max(len(data), 1) // 8) * 8, b"\0")
    return [int.from_bytes(padded[i : i + 8], sys.byteorder) for i in range(0, len(padded), 8)]


def local_name(value: FieldValue) -> str:
    """Return the C name under which a handler keeps an integer field of a classic record."""
    return "ev_" + re.sub(r"\W+", "_", value.name).strip("_")


def field_path(program: Program, value: FieldValue) -> str:
    """Return the C expression of an integer field, or of the address of a string, in the program's context."""
    if program.access is Access.RAW:
        return value.raw
    return record_path(program, value) if value.string else local_name(value)


def record_path(program: Program, value: FieldValue) -> str:
    """Return the C expression that reads a field, or is the address of a string, in the classic record."""
    if program.access is Access.RECORD:
        member = f"__data_loc_{value.name}" if value.dynamic else value.name
        path = f"ctx->{member}"
    else:
        sort = ("s" if value.signed else "u") + str(8 * value.size)
        if value.dynamic:
            sort = "u32"
        path = f"*({sort} *)((void *)ctx + {value.offset})"
        if value.string and not value.dynamic:
            return f"(void *)ctx + {value.offset}"
    if value.dynamic:
        return f"(void *)ctx + ({path} & 0xffff)"
    return path


#: Expressions of a rule's own clauses read no event: they are written for a program without one.
NO_EVENT = Program("", "", "", Access.RECORD, ())


@dataclass
class Writer:
    """Writes the expressions of one function; `strings` collects the buffers that they need filled first.

    `now` is the address of the event's time there.
    """

    program: Program
    strings: dict[str, Expr] = field(default_factory=dict)
    now: str = "now"

    def integer(self, expr: Expr) -> str:
        """Return the C text of an integer expression; its low 64 bits are the value, whatever its C type."""
        return self._context(expr.name) if isinstance(expr, Context) else self._write(expr)[0]

    def _context(self, name: str) -> str:
        return f"event_time({self.now})" if name == "mono" else _CONTEXT[name]

    def signed(self, expr: Expr) -> str:
        """Return the C text of an integer expression that C reads as signed."""
        text = self.integer(expr)
        return f"(s64)({text})" if isinstance(expr, Operation) else text

    def condition(self, expr: Expr) -> str:
        """Return the C text of a condition, bare."""
        return self._write(expr)[0]

    def _write(self, expr: Expr) -> tuple[str, int]:
        match expr:
            case Number(value):
                return self._number(value)
            case FieldValue():
                path = field_path(self.program, expr)
                return f"({'s64' if expr.signed else 'u64'}){_atom(path)}", _UNARY
            case Context(name):
                text = self._context(name)
                if name in _NARROW:
                    return f"(u64){text}", _UNARY
                return (f"({text})", _ATOM) if " " in text else (text, _ATOM)
            case Stored("key", name, size, signed):
                # A key's words are zero-extended, so that a signed field finds its sign again here.
                if signed and size < 8:
                    return f"(s64)(s{8 * size})key->{name}", _UNARY
                return f"key->{name}", _ATOM
            case Stored("in", name):
                return f"set->in[way].{name}", _ATOM
            case Stored("out", name):
                return f"out.{name}", _ATOM
            case Stored(_, name):
                return f"READ_ONCE(control.{name})", _ATOM
            case Latency():
                return "(s64)latency", _UNARY
            case Outcome():
                return "outcome", _ATOM
            case Operation():
                return self._operation(expr)
        raise AssertionError(f"a string stands where an integer is needed: {expr}")

    def _number(self, value: int) -> tuple[str, int]:
        if value == -(1 << 63):
            return "(-9223372036854775807LL - 1)", _ATOM
        if value < 0:
            return f"-{-value}LL", _UNARY
        return (f"{value}LL", _ATOM) if value < 1 << 63 else (f"{value}ULL", _ATOM)

    def _operation(self, expr: Operation) -> tuple[str, int]:
        operator, operands = expr.operator, expr.operands
        if operator == "if":
            condition, yes, no = (self._write(o)[0] for o in operands)
            return f"({condition} ? {yes} : {no})", _ATOM
        if operator in ("not", "~") or (operator == "-" and len(operands) == 1):
            sign, cast = ("!", "") if operator == "not" else (operator, "(u64)")
            return f"{sign}{cast}{self._operand(operands[0], _UNARY)}", _UNARY
        if expr.strings:
            return self._strings(operator, operands)
        left, right = operands
        if operator in _DIVISIONS:
            name = _DIVISIONS[operator] + ("_unsigned" if expr.unsigned else "")
            return f"{name}({self._write(left)[0]}, {self._write(right)[0]})", _ATOM
        level = _PRECEDENCE[operator]
        if operator in ("<<", ">>"):
            count = f"({self._operand(right, _PRECEDENCE['&'])} & 63)"
            if isinstance(right, Number):
                count = str(right.value & 63)
            cast = "(u64)" if expr.unsigned or operator == "<<" else "(s64)"
            return f"{cast}{self._operand(left, _UNARY)} {operator} {count}", level
        if operator in _ORDERED:
            # C must read both sides as the language does: its own types may be wider, or of the other sign.
            cast = "(u64)" if expr.unsigned else "(s64)"
            texts = [_cast(self._beside(o, p, _UNARY), cast) for o, p in ((left, right), (right, left))]
        else:
            # How `and` and `or` are grouped makes no difference.
            texts = [self._beside(left, right, level), self._beside(right, left, level + (operator not in _SPELLING))]
        return f"{texts[0]} {_SPELLING.get(operator, operator)} {texts[1]}", level

    def _beside(self, expr: Expr, other: Expr, level: int) -> str:
        """Write an operand; what is narrow beside a constant is widened by C itself, so its cast would be noise."""
        if isinstance(other, Number) and isinstance(expr, FieldValue):
            return _atom(field_path(self.program, expr))
        if isinstance(other, Number) and isinstance(expr, Context) and expr.name in _NARROW:
            return self._context(expr.name)
        return self._operand(expr, level)

    def _operand(self, expr: Expr, level: int) -> str:
        text, own = self._write(expr)
        return text if own >= level else f"({text})"

    def _strings(self, operator: str, operands: Sequence[Expr]) -> tuple[str, int]:
        left, right = (self.string(o) for o in operands)
        negation = "!" if operator == "!=" else ""
        return f"{negation}strings_equal({left[0]}, {left[1]}, {right[0]}, {right[1]})", _UNARY

    def string(self, expr: Expr) -> tuple[str, int]:
        """Return the C text of the address of a string and how many words it has; note the buffer that it needs."""
        match expr:
            case Text(value):
                return f"(u64[]){{{', '.join(f'{w:#x}ULL' for w in words(value))}}}", len(words(value))
            case Stored("in", name, size):
                return f"set->in[way].{name}", size // 8
            case Stored("key", name, size):
                return f"key->{name}", size // 8
            case Stored(where, name, size):
                return f"{where}.{name}", size // 8
            case FieldValue(name, size):
                buffer = f"the_{name}"
                self.strings[buffer] = expr
                return buffer, size // 8
            case Context("comm"):
                self.strings["task_comm"] = expr
                return "task_comm", 2
        raise AssertionError(f"not a string: {expr}")

    def copy(self, target: str, member: Member, expr: Expr | None) -> list[str]:
        """Return the statements that store an expression, or emptiness, in a member of a struct."""
        if expr is None:
            return [f"__builtin_memset({target}, 0, {member.size});"] if member.string else [f"{target} = 0;"]
        if not member.string:
            return [f"{target} = {self.integer(expr)};"]
        clear = f"__builtin_memset({target}, 0, {member.size});"
        match expr:
            case FieldValue():
                path = field_path(self.program, expr)
                return [clear, f"bpf_probe_read_kernel_str({target}, {min(member.size, expr.size)}, {path});"]
            case Context("comm"):
                return [clear, f"bpf_get_current_comm({target}, {min(member.size, 16)});"]
            case _:
                text, count = self.string(expr)
                return [clear, f"__builtin_memcpy({target}, {text}, {min(member.size, 8 * count)});"]

    def buffers(self) -> list[str]:
        """Return the declarations and statements that fill the noted string buffers."""
        lines = []
        for name, expr in self.strings.items():
            size = expr.size if isinstance(expr, FieldValue) else 16
            lines.append(f"char {name}[{size}] __attribute__((aligned(8))) = {{}};")
            lines += self.copy(name, Member(name, size, string=True), expr)[1:]
        return lines


def _cast(text: str, cast: str) -> str:
    """Put a cast before a unary expression, unless it has that type."""
    return text if text.startswith(cast) or (cast == "(s64)" and _SIGNED_NUMBER.fullmatch(text)) else cast + text


def _atom(text: str) -> str:
    """Put parentheses around C text that is more than a name, a path or a call."""
    return (
        text
        if text.replace("->", "").replace("_", "").replace(".", "").isalnum() or text.endswith(")")
        else f"({text})"
    )
