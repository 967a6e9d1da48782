"""Slips in the structure of rules: each function knows one, and returns its diagnostic or None."""

from __future__ import annotations

from ltrules.diagnostics import Diagnostic, Fix, replace
from ltrules.parse import scan
from ltrules.parse.slips import suggestion
from ltrules.parse.trouble import Trouble, write
from ltrules.parse.words import (
    CLAUSES,
    EVENT_CLAUSES,
    GROUPED,
    ITEMS,
    MEANT,
    MODIFIERS,
    OPERATORS,
    RESERVED,
    STATEMENTS,
)
from ltrules.source import Span

_LISTS = {
    "key": ("a compound key needs parentheses", "two key fields, written as a bare list"),
    "then": ("a compound key needs parentheses", "two key fields, written as a bare list"),
    "by": ("grouping by several values needs parentheses", "a bare list"),
    "capture": ("capturing several values needs parentheses", "a bare list"),
}


def bare_list(t: Trouble) -> Diagnostic | None:
    """`key dev, sector` for `key (dev, sector)`."""
    found = [(i, last) for i in range(len(t.tokens)) if (last := _bare_list_end(t, i)) is not None]
    here = next(((i, last) for i, last in found if i < t.i <= last), None)
    if here is None:
        return None
    word = t.tokens[here[0]].text
    message, label = _LISTS[word]
    spans = {i: t.span(t.tokens[i + 1], t.tokens[last]) for i, last in found if t.tokens[i].text == word}
    place = spans[here[0]]
    name = place.text.split(",")[1].strip()
    return t.diagnostic(
        "LT102",
        message,
        place,
        label,
        related=[(span, "here as well") for i, span in spans.items() if i != here[0]],
        notes=[f"a comma outside parentheses ends a clause, so `{name}` was read as the next clause"],
        fixes=[write("Add parentheses", *((span, f"({span.text})") for span in spans.values()))],
    )


def _bare_list_end(t: Trouble, i: int) -> int | None:
    """Return the index of the last token of the list of names after the word at `i`; None if there is no such list."""
    if t.tokens[i].text not in _LISTS or scan.text_at(t.tokens, i - 1) in OPERATORS | {".", "where"}:
        return None
    end = _path_end(t, i + 1)
    several = False
    while end is not None and scan.text_at(t.tokens, end + 1) == ",":
        following = _path_end(t, end + 2)
        # `key pid, treshold 5us` has a clause after the comma: something that can only be its operand follows.
        if following is None or (following + 1 < len(t.tokens) and _is_operand(t, following + 1)):
            break
        end, several = following, True
    return end if several else None


def _path_end(t: Trouble, i: int) -> int | None:
    if (
        i >= len(t.tokens)
        or t.tokens[i].kind != "word"
        or (t.tokens[i].text in RESERVED and scan.text_at(t.tokens, i + 1) != ".")
    ):
        return None
    while scan.text_at(t.tokens, i + 1) == "." and i + 2 < len(t.tokens) and t.tokens[i + 2].kind == "word":
        i += 2
    return i


def _is_operand(t: Trouble, i: int) -> bool:
    token = t.tokens[i]
    if token.kind == "word":
        return token.text not in CLAUSES | MODIFIERS | ITEMS | RESERVED and not scan.starts_line(
            t.source.text, t.tokens, i
        )
    return token.kind in ("number", "string") or token.text in ("(", "=", ":")


def statement(t: Trouble) -> Diagnostic | None:
    """Code where a clause should stand."""
    if not t.in_block or t.depth != 1 or (t.kind(0) != "word" and t.text(0) not in ("=", "+=", "-=", "$", "@")):
        return None
    word = t.text(0)
    after = t.text(1)
    code = word in STATEMENTS | {"$", "@"} or (after in ("=", "+=", "-=", "(") and word not in RESERVED | CLAUSES)
    if word == "if":
        code = after == "(" and (close := t.closing(t.i + 1)) is not None and scan.text_at(t.tokens, close + 1) == "{"
    if not code or not t.words & {"thresh"}:
        return None
    helps = ["a value with a name is a `param`, or a `const` outside the rule"] if "=" in after else []
    return t.diagnostic("LT108", "rules hold clauses, not code", t.span(t.token), "not a clause", helps=helps)


def unnamed_constant(t: Trouble) -> Diagnostic | None:
    """`LIMIT = 5us` at the top level for `const LIMIT = 5us`."""
    if t.depth or t.kind(0) != "word" or t.text(1) != "=" or not t.words & {"const"} or t.text(0) in RESERVED:
        return None
    place = Span(t.source, t.token.start, t.token.start)
    fix = write("Write `const`", (place, "const "))
    return t.diagnostic("LT101", "a value is named with `const`", t.span(t.token), "`const` is missing", fixes=[fix])


def equals(t: Trouble) -> Diagnostic | None:
    """`thresh = 5us`, `key: pid`."""
    word = t.text(-1)
    if (
        t.text(0) not in ("=", ":")
        or word not in CLAUSES | MODIFIERS
        or t.text(-2) in OPERATORS | {"where", "when", "(", "."}
    ):
        return None
    place = Span(t.source, t.previous.end, t.tokens[t.i + 1].start) if t.text(1) else t.span(t.token)
    fix = write(f"Remove `{t.text(0)}`", (place, " "))
    return t.diagnostic("LT101", f"no `{t.text(0)}` stands after `{word}`", t.span(t.token), "not needed", fixes=[fix])


def misplaced_item(t: Trouble) -> Diagnostic | None:
    """`const` and the like inside a rule."""
    if t.text(0) not in ITEMS or t.text(0) in t.words or not t.in_block or not t.depth:
        return None
    message = f"`{t.text(0)}` stands at the top of a file, not in a rule"
    return t.diagnostic("LT101", message, t.span(t.token), "move it out of the braces")


def semicolon(t: Trouble) -> Diagnostic | None:
    """`;` after a clause of a block."""
    if t.text(0) != ";" or not t.in_block or t.depth != 1:
        return None
    every = [
        (t.span(token), "") for token, depth in zip(t.tokens, t.depths, strict=False) if (token.text, depth) == (";", 1)
    ]
    fix = write("Remove `;`", *every)
    return t.diagnostic("LT101", "clauses in a block need no `;`", t.span(t.token), "not needed", fixes=[fix])


def comma(t: Trouble) -> Diagnostic | None:
    """A comma too many, or one too few."""
    word = t.text(0)
    if t.text(-1) == "," and not t.in_block and t.i >= 2:
        place = t.span(t.previous)
        remove = write("Remove the comma", (place, ""))
        if t.at_end and t.depth == 0:
            return t.diagnostic(
                "LT101", "no clause follows the last comma", place, "one comma too many", fixes=[remove]
            )
    if t.text(-1) == "," and t.i >= 2 and t.words & {"thresh"} and t.text(1) != "=":
        belongs = _owner(t, word)
        if belongs:
            place = t.span(t.previous)
            remove = write("Remove the comma", (place, ""))
            message = f"`{word}` belongs to `{belongs}`: no comma stands between"
            return t.diagnostic("LT101", message, place, "one comma too many", fixes=[remove])
    if "COMMA" not in t.expected or t.i == 0 or t.text(-1) == ",":
        return None
    missing = (
        word in CLAUSES and not t.in_block
        if t.depth == 0
        else t.kind(0) in ("word", "number", "string") and _in_list(t)
    )
    if not missing:
        return None
    fix = write("Write the comma", (Span(t.source, t.previous.end, t.previous.end), ","))
    message = f"a comma is missing before `{_short(word)}`"
    return t.diagnostic("LT101", message, t.span(t.token), "the next clause" if t.depth == 0 else "", fixes=[fix])


def _owner(t: Trouble, word: str) -> str:
    """Return the clause before the comma if the word is something that may follow it."""
    clause = t.governing(among=CLAUSES)
    return clause if (word in MODIFIERS and clause in EVENT_CLAUSES) or (word == "by" and clause in GROUPED) else ""


def _in_list(t: Trouble) -> bool:
    opened = next((j for j in range(t.i - 1, -1, -1) if t.depths[j] < t.depth), None)
    return opened is not None and t.tokens[opened].text in ("(", "[") and t.text(0) not in OPERATORS | CLAUSES


def clause_name(t: Trouble) -> Diagnostic | None:
    """`threshold 5us`, `filter pid > 5`, `tiemout 5us`: another word, or one letter wrong."""
    if t.kind(0) != "word" or t.text(0) in t.words:
        return None
    word, place = t.text(0), t.span(t.token)
    fixes: list[Fix] = []
    meant = MEANT.get(word.lower())
    if meant == "by" and t.text(1) == "by":
        place = t.span(t.token, t.tokens[t.i + 1])
    if meant is None or (meant not in t.words and not _owner(t, meant)):
        meant = suggestion(word, t.words)
    if meant is None:
        return None
    if t.text(-1) == "," and _owner(t, meant) and not t.in_block:
        fixes = [write(f"Change `, {word}` to ` {meant}`", (Span(t.source, t.previous.start, place.end), f" {meant}"))]
    else:
        fixes = [replace(place, meant)]
    if meant in CLAUSES | MODIFIERS | {"by", "meta", "param"}:
        sort = "clause" if meant in CLAUSES else "word"
        return t.diagnostic("LT104", f"no {sort} `{_short(word)}`", place, f"did you mean `{meant}`?", fixes=fixes)
    return t.diagnostic("LT101", f"unexpected `{_short(word)}`", place, f"did you mean `{meant}`?", fixes=fixes)


def missing_value(t: Trouble) -> Diagnostic | None:
    """`where , out`, `thresh }`, `a ==`."""
    if t.i == 0 or not ("INT" in t.expected or "PROBE" in t.expected):
        return None
    before = t.text(-1)
    ends = t.at_end or t.text(0) in (",", ";", ")", "]", "}") or t.text(0) in RESERVED
    if not ends or before in ("(", "["):
        return None
    what = "an event" if "PROBE" in t.expected else "a value"
    place = Span(t.source, t.previous.start, t.previous.end)
    return t.diagnostic("LT101", f"{what} is missing after `{_short(before)}`", place, "nothing follows this")


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:30]}..."
