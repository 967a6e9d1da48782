"""What could have stood at the place of a syntax error."""

from __future__ import annotations

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

_WORDS = {
    "NAME": "a name", "STRING": "a string", "TYPE": "a type", "DURATION": "a duration", "_EQ": "`=`", "COMMA": "`,`",
    "COLON": "`:`", "LBRACE": "`{`", "RBRACE": "`}`", "LPAR": "`(`", "RPAR": "`)`", "RSQB": "`]`", "OF": "`of`",
}  # fmt: skip


def possible(error: UnexpectedInput) -> set[str]:
    """Return the names of the terminals that the parser, or else the lexer, would have taken."""
    if isinstance(error, UnexpectedToken):
        return set(error.accepts or error.expected or ())
    return set(error.allowed or ()) if isinstance(error, UnexpectedCharacters) else set()


def expected(error: UnexpectedInput) -> str:
    """Return in a few words what could have stood there; "" if there are no words for it."""
    names = possible(error)
    if {"PROBE"} & names:
        return "an event"
    if {"LPAR", "INT"} <= names:
        return "a value"
    if {"KEY", "COMMA"} <= names:
        return "a modifier such as `key`, or `,` and a clause"
    if {"THRESH", "OUT"} & names:
        return "a clause"
    if {"RULE", "CONST"} & names:
        return "`,` and a clause, or another rule" if "COMMA" in names else "a rule"
    return " or ".join(_WORDS[n] for n in sorted(names) if n in _WORDS) if len(names) <= 4 else ""
