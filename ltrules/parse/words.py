"""The words of the language, and those that people write for them."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EVENT_CLAUSES = _words("in at step out cancel during")
CLAUSES = EVENT_CLAUSES | _words("when thresh timeout expire inflight duplicate rate after sample hist stat message on")
MODIFIERS = _words("key where capture as from within fork optional once")
#: The clauses that may be grouped with `by`.
GROUPED = _words("hist stat rate after")
ITEMS = _words("rule const import macro param requires test")

#: The words that never are names, as in the grammar.
RESERVED = _words(
    "in out step during cancel key where capture thresh timeout when rule const macro import requires test and or not "
    "one has as else then within true false"
)
OPERATORS = _words("and or not one of has == != < <= > >= =~ !~ && || ! + - * / % & | ^ ~ << >>")

#: What people write, and the word for it.
MEANT = {
    "threshold": "thresh",
    "limit": "thresh",
    "timeouts": "timeout",
    "filter": "where",
    "if": "where",
    "only": "where",
    "save": "capture",
    "label": "as",
    "name": "as",
    "begin": "in",
    "start": "in",
    "enter": "in",
    "open": "in",
    "end": "out",
    "exit": "out",
    "finish": "out",
    "close": "out",
    "until": "out",
    "abort": "cancel",
    "histogram": "hist",
    "group": "by",
    "text": "message",
}
#: Words that begin statements elsewhere.
STATEMENTS = _words(
    "let var for foreach while do return def func function fn int u64 u32 char bool void printf printk loop set else"
    " switch break continue goto"
)
UNITS = {
    "nsec": "ns",
    "nsecs": "ns",
    "nanosecond": "ns",
    "nanoseconds": "ns",
    "usec": "us",
    "usecs": "us",
    "micros": "us",
    "microsecond": "us",
    "microseconds": "us",
    "msec": "ms",
    "msecs": "ms",
    "millis": "ms",
    "millisecond": "ms",
    "milliseconds": "ms",
    "sec": "s",
    "secs": "s",
    "second": "s",
    "seconds": "s",
    "min": "m",
    "mins": "m",
    "minute": "m",
    "minutes": "m",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "byte": "B",
    "bytes": "B",
}
#: Units that are not the same as ours, and the nearest of ours.
NEAR_UNITS = {"k": "KiB", "kb": "KiB", "mb": "MiB", "g": "GiB", "gb": "GiB"}

#: What a test may expect: reports, and the counters of a rule.
_EXPECT_KINDS = (
    "alerts", "timeouts", "opened", "closed", "cancelled", "replaced", "expired", "refused", "pending", "kept",
    "unmatched", "clock_skew", "suppressed",
)  # fmt: skip
#: Terminals of the grammar that stand for several words.
_TERMINALS = {
    "TYPE": ("duration", "int", "size", "bool", "string", "ints", "strings"),
    "TRIGGER": ("alert", "timeout", "segment", "cancel", "overflow"),
    "RATCHET": ("ratchet",),
    "TIMEOUT_MODE": ("keep", "drop"),
    "FULL_MODE": ("reject", "evict"),
    "DUP_MODE": ("replace", "keep", "nest", "queue", "all"),
    "STAT0": ("count",),
    "STAT1": ("sum", "min", "max", "avg"),
    "EXPECT_KIND": _EXPECT_KINDS,
    "_OR": ("or",),
    "_AND": ("and",),
    "_NOT": ("not",),
    "BOOL": ("true", "false"),
}
#: Terminals of the grammar that are no words.
_NOT_WORDS = _words(
    "NAME RULE_NAME FIELD PROBE MAYBE EXPECT_N DURATION SIZE VERSION INT _EQ CMP GLOBOP BITOP SHIFTOP ADDOP MULOP DOC"
    " STRING COMMENT WS COMMA LPAR RPAR LBRACE RBRACE LSQB RSQB COLON SEMICOLON TILDE DOT"
)


def words_of(terminals: frozenset[str]) -> frozenset[str]:
    """Return the words that a set of the grammar's terminals stands for."""
    words: set[str] = set()
    for terminal in terminals:
        if terminal in _TERMINALS:
            words.update(_TERMINALS[terminal])
        elif terminal not in _NOT_WORDS and not terminal.startswith("$"):
            words.add(terminal.lower())
    return frozenset(words)
