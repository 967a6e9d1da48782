"""The C of plans: expressions as C must read them, and comments that no rule can break out of."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bpf_codegen import INCLUDE
from bpf_codegen.expressions import Writer, record_path, words
from bpf_codegen.plan import Access, Context, Expr, FieldValue, Latency, Number, Operation, Program, Stored, Text
from ltrules.engines.compiler import FLAGS, find_clang
from support import c_of

RECORD = Program("on_x", "a", "x", Access.RECORD, (), "record")
OFFSET = Program("on_x", "a", "x", Access.OFFSET, ())
RAW = Program("on_x", "a", "x", Access.RAW, ())
SMALL = FieldValue("small", 4, signed=True, offset=8, raw="p->small")
LARGE = FieldValue("large", 8, signed=False, offset=16, raw="x >> 9")


def operation(operator: str, *operands: Expr, unsigned: bool = False) -> Operation:
    return Operation(operator, operands, unsigned)


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (Number(-1), "-1LL"),
        (Number(-(1 << 63)), "(-9223372036854775807LL - 1)"),
        (Number(1 << 63), "9223372036854775808ULL"),
        (SMALL, "(s64)ev_small"),
        (operation("==", SMALL, Number(1)), "ev_small == 1LL"),
        (operation("+", SMALL, operation("*", SMALL, SMALL)), "(s64)ev_small + (s64)ev_small * (s64)ev_small"),
        (operation("*", operation("+", SMALL, Number(1)), Number(2)), "(ev_small + 1LL) * 2LL"),
        (operation("-", Number(1), operation("-", Number(2), Number(3))), "1LL - (2LL - 3LL)"),
        (operation("<", LARGE, Number(1), unsigned=True), "(u64)ev_large < (u64)1LL"),
        (operation("<", operation("-", Number(100), Context("tgid")), Number(5)),
         "(s64)(100LL - (bpf_get_current_pid_tgid() >> 32)) < 5LL"),
        (operation("/", LARGE, Number(8), unsigned=True), "divide_unsigned((u64)ev_large, 8LL)"),
        (operation("%", SMALL, Number(8)), "remainder((s64)ev_small, 8LL)"),
        (operation(">>", SMALL, Number(65)), "(s64)(s64)ev_small >> 1"),
        (operation("<<", Number(1), SMALL), "(u64)1LL << ((s64)ev_small & 63)"),
        (operation("-", SMALL), "-(u64)(s64)ev_small"),
        (operation("~", Context("tid")), "~(u64)(u64)(u32)bpf_get_current_pid_tgid()"),
        (operation("-", Context("tid"), Context("uid")),
         "(u64)(u32)bpf_get_current_pid_tgid() - (u64)(u32)bpf_get_current_uid_gid()"),
        (operation("not", operation("and", Number(1), Number(0))), "!(1LL && 0LL)"),
        (operation("if", operation(">", Latency(), Number(5)), SMALL, Number(2)),
         "((s64)latency > 5LL ? (s64)ev_small : 2LL)"),
        (operation("or", operation("and", Number(1), Number(2)), Number(3)), "1LL && 2LL || 3LL"),
        (Stored("key", "pid", 4, True), "(s64)(s32)key->pid"),
        (Stored("in", "prio"), "set->in[way].prio"),
        (Stored("control", "limit"), "READ_ONCE(control.limit)"),
    ],
)  # fmt: skip
def test_integers(expr: Expr, text: str) -> None:
    assert Writer(RECORD).integer(expr) == text


def test_fields_by_the_way_their_program_reads_them() -> None:
    assert Writer(OFFSET).integer(SMALL) == Writer(RECORD).integer(SMALL) == "(s64)ev_small"
    assert record_path(OFFSET, SMALL) == "*(s32 *)((void *)ctx + 8)"
    assert record_path(RECORD, SMALL) == "ctx->small"
    assert Writer(RAW).integer(SMALL) == "(s64)p->small"
    assert Writer(RAW).integer(LARGE) == "(u64)(x >> 9)"


def test_strings_are_rows_of_words() -> None:
    assert words(b"") == [0]
    assert words(b"12345678") == [int.from_bytes(b"12345678", sys.byteorder)]
    assert len(words(b"123456789")) == 2
    writer = Writer(RECORD)
    text = writer.condition(Operation("!=", (Context("comm"), Text(b"sh")), strings=True))
    assert text.startswith("!strings_equal(task_comm, 2, (u64[]){")
    assert any("bpf_get_current_comm(task_comm, 16)" in line for line in writer.buffers())


def test_titles_and_conditions_cannot_leave_their_comments() -> None:
    text = c_of(
        'rule r "*\\\\/ int evil; */ int evil; /* \\\\" { in sched_wakeup key pid where comm != "*/ evil(); /*" '
        'and comm != "**// evil(); //**" and comm != "/*/" '
        "out sched_switch key next_pid thresh 1us }"
    )
    clang = find_clang()
    if clang is None:
        pytest.skip("clang is not installed")
    command = [clang, *FLAGS, "-Werror", "-Wno-unused-function", "-I", INCLUDE, "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    assert "evil" in text
    assert "evil" not in bare


@pytest.mark.parametrize(
    "text",
    [
        "in sched_wakeup key pid, out sched_switch key next_pid, timeout -1us * n",
        "in sched_wakeup key pid, out sched_switch key next_pid, timeout (n << 3) * 1ns, expire -1us * n",
    ],
)
def test_limits_are_compared_as_signed_numbers(text: str) -> None:
    text = c_of(f"param n: int = -1\n{text}".replace("(n << 3)", "(-n << 3)"))
    assert "(s64)age > (s64)(" in text


def test_the_same_rules_give_the_same_c() -> None:
    text = "in sched_wakeup key pid capture prio, out sched_switch key next_pid, thresh 1us, hist latency by in.prio"
    assert c_of(text) == c_of(text)
