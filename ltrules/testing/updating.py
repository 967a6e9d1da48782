"""Rewrite what tests of recorded traces expect, with as few changes to the text as that takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ltrules.diagnostics import Edit, Fix
from ltrules.errors import InputError
from ltrules.report import apply_fixes
from ltrules.source import Source, Span
from ltrules.testing.judging import Verdict
from ltrules.testing.results import Result
from ltrules.testing.running import Trial
from ltrules.testing.wording import wanted_literal

#: The counters that are written, where they are not 0, for a test that expects nothing yet.
_COUNTERS = (
    "opened", "closed", "cancelled", "replaced", "expired", "refused", "pending", "kept", "unmatched", "clock_skew",
    "suppressed",
)  # fmt: skip


def rewrite(source: Source, results: Sequence[Result]) -> int:
    """Write what the traces of a file's tests gave into the file; return how many tests were changed.

    Tests with events of their own stay as they are: what they expect is what is right. Raises InputError.
    """
    changes = [edits for result in results if (edits := list(_edits(result)))]
    if changes:
        fix = Fix("", tuple(edit for edits in changes for edit in edits))
        _write(Path(source.name), apply_fixes(source, [fix]))
    return len(changes)


def _edits(result: Result) -> Iterator[Edit]:
    if result.case.trace is None or result.trial is None or result.case.todo:
        return
    if not result.case.expectations:
        yield _all(result, result.trial)
    for verdict in result.verdicts:
        if not verdict.passed:
            yield from _correct(verdict)


def _correct(verdict: Verdict) -> Iterator[Edit]:
    """Iterate over the edits after which an expectation is met: new values for one report, else another count."""
    expectation, wrong = verdict.expectation, verdict.differences
    one = expectation.count in (None, 1) and not verdict.made
    if one and wrong and all(w.where != "key" and value is not None for w, value in wrong):
        yield from (Edit(w.span, wanted_literal(w, value)) for w, value in wrong)
        return
    count = str(verdict.made) if verdict.made else "no"
    place = expectation.count_span
    if place is not None:
        yield Edit(place, count)
    else:
        start = expectation.kind_span.start
        yield Edit(Span(expectation.kind_span.source, start, start), f"{count} ")
    if expectation.of_reports:
        word = expectation.kind if verdict.made == 1 else f"{expectation.kind}s"
        if word != expectation.kind_span.text:
            yield Edit(expectation.kind_span, word)


def _all(result: Result, trial: Trial) -> Edit:
    """Return the edit that writes all that a test made, at its end."""
    block = result.case.span
    text, brace = block.source.text, block.end - 1
    lines = list(_lines(result, trial))
    start = text.rfind("\n", 0, brace) + 1
    margin = text[start:brace]
    if margin.strip():
        # The brace shares its line with the statements.
        return Edit(Span(block.source, brace, brace), " ".join(lines) + " ")
    return Edit(Span(block.source, start, start), "".join(f"{margin}  {line}\n" for line in lines))


def _lines(result: Result, trial: Trial) -> Iterator[str]:
    several = len(result.case.rules.rules) > 1
    for rule, stats in zip(result.case.rules.rules, trial.stats.rules, strict=True):
        of = f" for {rule.name}" if several else ""
        for kind, limit in (("alert", rule.thresh), ("timeout", rule.timeout)):
            if limit is not None:
                made = sum(report.kind == kind and report.rule == rule.name for report in trial.reports)
                yield f"expect {made or 'no'} {kind}{'' if made == 1 else 's'}{of}"
        for counter in _COUNTERS:
            if stats.counters[counter]:
                yield f"expect {stats.counters[counter]} {counter}{of}"


def _write(path: Path, text: str) -> None:
    """Replace a file, all of it or not at all."""
    target = path.resolve()
    try:
        mode = target.stat().st_mode & 0o777
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".ltrules-", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.chmod(name, mode)  # noqa: PTH101
            os.replace(name, target)  # noqa: PTH105
        except BaseException:
            os.unlink(name)  # noqa: PTH108
            raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
