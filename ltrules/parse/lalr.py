"""Part of a source to a node by Lark, or to the diagnostic that says why not."""

from __future__ import annotations

from typing import Any

from lark.exceptions import UnexpectedInput, VisitError

from ltrules.diagnostics import Diagnostic
from ltrules.parse.build import build
from ltrules.parse.grammar import parser
from ltrules.parse.sentences import sentence
from ltrules.source import Source, Span


def read(source: Source, start: int, end: int, what: str) -> Any:
    """Return the node of source.text[start:end], which is a `what` of the grammar, or a Diagnostic."""
    try:
        return build(parser().parse(source.text[start:end], start=what), source, start)
    except UnexpectedInput as error:
        return sentence(error, source, start, end)
    except (VisitError, RecursionError) as error:
        if isinstance(error, VisitError) and not isinstance(error.orig_exc, RecursionError):
            raise error.orig_exc from None
        span = Span(source, start, min(start + 1, end))
        return Diagnostic("LT101", "syntax", "this is nested too deeply", span)
