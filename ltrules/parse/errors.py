"""Explain syntax errors in sentences."""

from __future__ import annotations

from bisect import bisect_right

from ltrules.diagnostics import Diagnostic
from ltrules.parse import scan, slips, structure
from ltrules.parse.trouble import Trouble
from ltrules.source import Source, Span

# The first that knows the slip explains it: the more particular ones stand first.
_SLIPS = (
    slips.unclosed,
    slips.unopened,
    slips.quotes,
    slips.arrow,
    slips.unit,
    slips.in_as_operator,
    slips.assignment,
    structure.equals,
    structure.bare_list,
    structure.statement,
    structure.unnamed_constant,
    structure.misplaced_item,
    structure.semicolon,
    structure.comma,
    structure.clause_name,
    slips.reserved,
    structure.missing_value,
    slips.strange,
)

_LONGEST = 30

#: What may stand somewhere, by the terminals that must all be among those expected; the first that fits is said.
_EXPECTED = (
    ({"COMMA", "KEY"}, "a comma, or a word such as `where`"),
    ({"COMMA", "RULE"}, "a comma, or the next rule"),
    ({"RULE", "CONST"}, "a rule, or `const`, `import`, `macro` or `param`"),
    ({"PROBE"}, "an event, such as `sched_switch`"),
    ({"TYPE"}, "a type: duration, int, size, bool or string"),
    ({"TRIGGER"}, "alert, timeout, segment, cancel or overflow"),
    ({"DUP_MODE"}, "replace, keep, nest, queue or all"),
    ({"STAT1"}, "count, sum, min, max or avg"),
    ({"PRINT", "RECORD"}, "an action, such as `print`"),
    ({"KERNEL", "FEATURE"}, "ltrules, kernel, feature, config or event"),
    ({"THRESH"}, "a clause, such as `thresh`"),
    ({"EXPECT", "REPLAY"}, "a step: at, until, replay, expect, param or catalog"),
    ({"EXPECT_KIND"}, "what to expect, such as `alert`"),
    ({"INT", "NAME"}, "a value"),
    ({"STRING", "DOC"}, "a value, such as a string"),
    ({"NAME"}, "a name"),
    ({"FIELD"}, "the name of a field"),
)
_SIGNS = {
    "_EQ": "=",
    "COMMA": ",",
    "LPAR": "(",
    "RPAR": ")",
    "LBRACE": "{",
    "RBRACE": "}",
    "LSQB": "[",
    "RSQB": "]",
    "COLON": ":",
}


def explain(source: Source, start: int, end: int, offset: int, expected: frozenset[str]) -> Diagnostic:
    """Return the diagnostic for an error at `offset` in the item [start, end), where one of `expected` may stand."""
    tokens = scan.lexemes(source.text, start, end)
    i = bisect_right([token.end for token in tokens], offset)
    end = tokens[-1].end if tokens else end
    trouble = Trouble(source, end, tokens, i, expected)
    for slip in _SLIPS:
        found = slip(trouble)
        if found is not None:
            return found
    return _unexpected(trouble)


def _unexpected(t: Trouble) -> Diagnostic:
    wanted = _wanted(t)
    label = f"expected {wanted}" if wanted else ""
    if not t.at_end:
        word = t.text(0) if len(t.text(0)) <= _LONGEST else f"{t.text(0)[:_LONGEST]}..."
        return t.diagnostic("LT101", f"unexpected `{word}`".replace("\n", " "), t.span(t.token), label)
    if not t.tokens:
        return t.diagnostic("LT101", "an expression is missing here", Span(t.source, t.end, t.end), label)
    return t.diagnostic(
        "LT101", "the text ends too early", t.span(t.tokens[-1]), f"{label} after this" if label else ""
    )


def _wanted(t: Trouble) -> str:
    for terminals, words in _EXPECTED:
        if terminals <= t.expected:
            return words
    signs = [f"`{sign}`" for terminal, sign in _SIGNS.items() if terminal in t.expected]
    known = signs + [f"`{word}`" for word in sorted(t.words)]
    if not 0 < len(known) <= 5:
        return ""
    return " or ".join(([", ".join(known[:-1])] if known[1:] else []) + known[-1:])
