"""Load the Lark parser of the rule language, from the cache where that is possible."""

from __future__ import annotations

import hashlib
import io
import sys
from functools import cache

import lark
from lark.lexer import PatternRE, PatternStr, TerminalDef

from ltrules import cache as kept
from ltrules.resources import resource

#: Where a parse may begin: a file, or one expression.
STARTS = ["start", "expr"]


def grammar_text() -> str:
    """Return the grammar as written."""
    return (resource("grammar") / "ltrules.lark").read_text(encoding="utf-8")


def build(text: str, *, strict: bool = False) -> lark.Lark:
    """Make a parser from the text of the grammar; `strict` refuses every conflict and collision."""
    return lark.Lark(
        text,
        parser="lalr",
        lexer="contextual",
        propagate_positions=True,
        maybe_placeholders=True,
        start=STARTS,
        strict=strict,
        edit_terminals=_whole_word,
    )


@cache
def parser() -> lark.Lark:
    """Return the parser. The first use takes 0.4 s without a cache, a tenth of that with one."""
    text = grammar_text()
    version = f"{lark.__version__} {sys.version} {build.__code__.co_code.hex()}"
    name = f"grammar-{hashlib.sha256(f'{version}{text}'.encode()).hexdigest()[:32]}"
    data = kept.read(name)
    if data is not None:
        try:
            return lark.Lark.load(io.BytesIO(data))
        except Exception:
            pass  # A damaged entry can fail in any way; it is made anew.
    made = build(text)
    buffer = io.BytesIO()
    made.save(buffer, exclude_options=["edit_terminals"])
    kept.write(name, buffer.getvalue())
    return made


def _whole_word(terminal: TerminalDef) -> None:
    """Let a keyword match as a whole word only, before `NAME`. Lark loads faster too if all terminals are patterns."""
    if isinstance(terminal.pattern, PatternStr) and terminal.pattern.value.isalnum():
        terminal.pattern = PatternRE(rf"{terminal.pattern.value}\b")
        terminal.priority = 1
