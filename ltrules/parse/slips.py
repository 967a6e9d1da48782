"""Slips inside expressions and literals: each function knows one, and returns its diagnostic or None."""

from __future__ import annotations

import re
import unicodedata

from ltrules import units
from ltrules.diagnostics import Diagnostic, Edit, Fix, closest, replace
from ltrules.parse import membership, scan
from ltrules.parse.scan import Lexeme
from ltrules.parse.trouble import Trouble, write
from ltrules.parse.words import CLAUSES, EVENT_CLAUSES, MODIFIERS, NEAR_UNITS, OPERATORS, RESERVED, UNITS
from ltrules.source import Span

_NUMBER = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)([^\W\d_]\w*)")
_UNITS_HELP = "the units of time are ns us ms s m h, those of size B KiB MiB GiB"
_LONGEST = 30


def unclosed(t: Trouble) -> Diagnostic | None:
    """`{`, `(`, `"` or `\"\"\"` that nothing closes."""
    for token in t.tokens[: t.i + 1]:
        if token.kind == "unclosed":
            mark = '"""' if token.text.startswith('"""') else '"'
            place = Span(t.source, token.start, token.start + len(mark))
            return t.diagnostic("LT109", f"`{mark}` is not closed", place, "the text that starts here has no end")
    lost = [b for b in scan.unclosed(t.tokens) if _noticed(t, b)]
    if not lost:
        return None
    opened = lost[-1]
    line = t.source.position(opened.start)[0]
    return t.diagnostic("LT109", f"`{opened.text}` opened at line {line} is not closed", t.span(opened), "opened here")


def _noticed(t: Trouble, bracket: Lexeme) -> bool:
    """Tell whether a bracket without end is what went wrong: another mistake inside a block comes first."""
    if t.i == 0:
        return bracket is t.token
    return bracket.start < t.token.start and (t.at_end or bracket.text != "{")


def unopened(t: Trouble) -> Diagnostic | None:
    """`)` or `}` that closes nothing."""
    if t.text(0) not in scan.CLOSING or t.depth:
        return None
    return t.diagnostic("LT101", f"`{t.text(0)}` closes nothing", t.span(t.token), "nothing is open here")


def quotes(t: Trouble) -> Diagnostic | None:
    """`'text'`, and quotes as word processors make them."""
    pairs = {"'": "'", "`": "`", "“": "”", "„": "“", "‘": "’", "«": "»"}
    close = pairs.get(t.text(0))
    if close is None:
        return None
    line_end = t.source.text.find("\n", t.token.end)
    end = t.source.text.find(close, t.token.end, line_end if line_end >= 0 else None)
    fixes: list[Fix] = []
    if end >= 0 and not {'"', "\\"} & set(t.source.text[t.token.end : end]):
        fixes.append(
            write("Use double quotes", (t.span(t.token), '"'), (Span(t.source, end, end + 1), '"')),
        )
    return t.diagnostic("LT101", 'a string stands in double quotes: `"`', t.span(t.token), fixes=fixes)


def arrow(t: Trouble) -> Diagnostic | None:
    """`ev->rq` for `ev.rq`."""
    if t.text(0) != "->" or t.kind(1) != "word" or t.kind(-1) != "word" or t.text(1) in CLAUSES | MODIFIERS:
        return None
    following = t.tokens[t.i + 1]
    place = Span(t.source, t.previous.end, following.start)
    fix = write("Write `.`", (place, "."))
    return t.diagnostic("LT106", "pointers are followed with `.`", t.span(t.token), "write `.`", fixes=[fix])


def unit(t: Trouble) -> Diagnostic | None:
    """`5 us`, `5usec`, `5US`, `1.5`, `.5ms`."""
    if t.kind(0) == "word" and t.kind(-1) == "number" and re.fullmatch(r"[0-9][0-9_.]*", t.text(-1)):
        fix = _unit_fix(t.text(0), t.span(t.previous, t.token), t.text(-1))
        if fix is None or t.text(1) == ":":
            return None
        both = t.span(t.previous, t.token)
        return t.diagnostic(
            "LT103", f"`{_short(both.text)}` is two words", both, "a number and its unit are one word", fixes=[fix]
        )
    if t.text(0) == "." and t.kind(1) == "number" and (t.kind(-1) != "word" or t.text(-1) in RESERVED | CLAUSES):
        place = Span(t.source, t.token.start, t.token.end)
        fix = write("Write the zero", (place, "0."))
        return t.diagnostic(
            "LT103", f"write `0.{_short(t.text(1))}`", t.span(t.token), "a digit stands first", fixes=[fix]
        )
    if t.kind(0) != "number" or t.expected.isdisjoint(("INT", "DURATION", "SIZE")):
        return None
    found = _NUMBER.fullmatch(t.text(0))
    if found is None or t.text(0)[:2] in ("0x", "0X"):
        if re.fullmatch(r"[0-9][0-9_]*\.[0-9]+", t.text(0)):
            message = f"`{_short(t.text(0))}` needs a unit: only durations and sizes have fractions"
            return t.diagnostic("LT103", message, t.span(t.token), "no unit", helps=[_UNITS_HELP])
        return None
    number, written = found.groups()
    if written in units.DURATIONS or written in units.SIZES:
        return None
    place = Span(t.source, t.token.start + len(number), t.token.end)
    fix = _unit_fix(written, place, "")
    label = f"did you mean `{fix.edits[0].text}`?" if fix else ""
    message = f"`{_short(written)}` is not a unit"
    return t.diagnostic("LT103", message, place, label, helps=[_UNITS_HELP], fixes=[fix] if fix else [])


def _unit_fix(word: str, place: Span, number: str) -> Fix | None:
    known = [*units.DURATIONS, *units.SIZES]
    meant = word if word in known else UNITS.get(word.lower())
    if meant is None and word != "M":  # minutes, or MiB
        meant = next((name for name in known if name.lower() == word.lower()), None)
    if meant is not None:
        return replace(place, number + meant)
    near = NEAR_UNITS.get(word.lower())
    return replace(place, number + near, safe=False) if near else None


def in_as_operator(t: Trouble) -> Diagnostic | None:
    """`prio in (1, 2)` for `prio one of [1, 2]`."""
    if t.text(-1) == "in" and t.text(0) in ("(", "[", "{") and t.i >= 2:
        word = t.i - 1
    elif t.text(0) == "in" and t.text(-1) == "not":
        word = t.i
    elif t.text(0) == "not" and t.text(1) == "in":
        word = t.i + 1
    elif t.text(0) == "in" and t.governing() in ("where", "when", "macro"):
        word = t.i
    else:
        return None
    negated = scan.text_at(t.tokens, word - 1) == "not"
    last = t.tokens[word - 2 if negated else word - 1]
    if last.text in OPERATORS or last.text == "," or t.governing(word) not in ("where", "when", "macro", "const"):
        return None
    return membership.diagnostic(t.span(t.tokens[word]), _membership_edits(t, word, negated))


def _membership_edits(t: Trouble, word: int, negated: bool) -> list[Edit]:
    opened = scan.text_at(t.tokens, word + 1)
    close = t.closing(word + 1) if opened in ("(", "[", "{") else None
    if close is None:
        return []
    edits = [Edit(t.span(t.tokens[word]), "one of"), Edit(t.span(t.tokens[word + 1]), "[")]
    edits.append(Edit(t.span(t.tokens[close]), "]"))
    if negated:
        first = word - 2
        while scan.text_at(t.tokens, first - 1) == ".":
            first -= 2
        if t.tokens[first].kind not in ("word", "number"):
            return []
        start = t.tokens[first].start
        edits[0] = Edit(Span(t.source, t.tokens[word - 1].start, t.tokens[word].end), "one of")
        edits.insert(0, Edit(Span(t.source, start, start), "not "))
    return edits


def assignment(t: Trouble) -> Diagnostic | None:
    """`where pid = 5`, `pid === 5` and `pid = = 5` for `where pid == 5`."""
    if t.text(0) != "=" or t.governing() not in ("where", "when"):
        return None
    first = t.previous if t.text(-1) == "==" else t.token
    place = t.span(first, t.tokens[t.i + 1] if t.text(1) == "=" else t.token)
    return t.diagnostic(
        "LT107", "`=` gives a name; compare with `==`", place, "write `==`", fixes=[replace(place, "==")]
    )


def reserved(t: Trouble) -> Diagnostic | None:
    """A word of the language where a name is wanted."""
    names_rule = "RULE_NAME" in t.expected and t.text(1) == ":"
    if (
        t.text(0) not in RESERVED
        or not (names_rule or "NAME" in t.expected)
        or "PROBE" in t.expected
        or t.text(0) in t.words
    ):
        return None
    word, place = t.text(0), t.span(t.token)
    if names_rule or "INT" not in t.expected:
        return t.diagnostic("LT110", f"`{word}` is reserved; choose another name", place, "a word of the language")
    follows_value = t.kind(1) in ("word", "number", "string") and t.text(1) not in OPERATORS | CLAUSES | MODIFIERS
    if follows_value and word not in ("true", "false"):
        return None
    if _clause_of(t) in EVENT_CLAUSES:
        fix = replace(place, f"ev.{word}")
        return t.diagnostic(
            "LT110", f"`{word}` is reserved; write `ev.{word}`", place, "a word of the language", fixes=[fix]
        )
    return t.diagnostic("LT110", f"`{word}` is reserved", place, "a word of the language, not a value")


def _clause_of(t: Trouble) -> str:
    return t.governing(among=CLAUSES | {"const", "macro"})


def strange(t: Trouble) -> Diagnostic | None:
    """A character that the language does not use, named if it looks like one that it does."""
    char = t.text(0)
    if len(char) != 1 or char.isascii():
        return None
    plain = unicodedata.normalize("NFKC", char)
    alike = {"–": "-", "—": "-", "−": "-", "×": "*", "≤": "<=", "≥": ">=", "≠": "!=", "→": "."}.get(char, plain)
    name = unicodedata.name(char, f"U+{ord(char):04X}").lower()
    fixes = [replace(t.span(t.token), alike, safe=False)] if alike != char and alike.isascii() and alike.strip() else []
    return t.diagnostic("LT101", f"`{char}` ({name}) is not part of the language", t.span(t.token), fixes=fixes)


def suggestion(word: str, choices: frozenset[str]) -> str | None:
    """Return the word that was probably meant; short words must match but for their case."""
    if len(word) < 3:
        return next((choice for choice in choices if choice == word.lower()), None)
    swapped = (choice for choice in sorted(choices) if choice[0] == word[0] and sorted(choice) == sorted(word))
    return closest(word, sorted(choices)) or next(swapped, None)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
