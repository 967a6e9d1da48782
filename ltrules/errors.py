"""What can go wrong in the world, as exceptions.

Mistakes in a rule are values (`Diagnostic`), collected and printed together. An exception
is for trouble outside the text:

* LtrulesError
  + RuleError             rules do not check; carries the diagnostics
  + InputError            a file cannot be read, or an argument makes no sense
  + EngineError
    - EngineUnavailable   a library, privilege or kernel feature is missing; says what to do
    - CompileError        the compiler refused the generated C; carries its output
    - LoadError           the kernel refused the programs; carries the end of the log
    - AttachError         a probe is not there, or is not permitted
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltrules.diagnostics import Diagnostic


class LtrulesError(Exception):
    """The base of all. `log`, where there is one, is the text from the layer below."""

    exit_status = 2

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class RuleError(LtrulesError):
    """At least one rule does not check."""

    exit_status = 1

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        errors = sum(d.severity.fatal for d in diagnostics)
        super().__init__(f"{errors} error{'s' if errors != 1 else ''} in the rules")
        self.diagnostics = tuple(diagnostics)


class InputError(LtrulesError):
    """A file cannot be read, or an argument makes no sense."""


class EngineError(LtrulesError):
    """The engine could not run the rules."""

    exit_status = 3


class EngineUnavailable(EngineError):  # noqa: N818 - says what is the matter, as its siblings do
    """This machine or this user lacks something that the engine needs."""


class CompileError(EngineError):
    """The compiler refused the generated C: a bug in ltrules."""


class LoadError(EngineError):
    """The kernel refused the programs."""


class AttachError(EngineError):
    """A probe is not there, or may not be attached."""
