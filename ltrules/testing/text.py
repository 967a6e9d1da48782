"""Results for people: a line for each file, and for each test that failed what was expected beside what was made."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from ltrules.sinks.summary import clean
from ltrules.testing.judging import Verdict
from ltrules.testing.results import GOOD, OUTCOMES, Result
from ltrules.testing.running import Moment, Trial
from ltrules.testing.wording import (
    event_text,
    expectation_text,
    report_text,
    wanted_literal,
    wanted_name,
)
from ltrules.units import exact_duration

#: The widest that the left one of two columns gets, and the most moments of a test that are shown.
_LEFT = 56
_MOMENTS = 40
_RED, _GREEN, _YELLOW, _BOLD = "31", "32", "33", "1"
_COLORS = {"passed": _GREEN, "todo": _YELLOW}


class TextReport:
    """Writes results as lines; in colour if asked."""

    def __init__(self, color: bool, verbose: bool) -> None:
        self.color = color
        self.verbose = verbose

    def file(self, name: str, results: Sequence[Result]) -> Iterator[str]:
        """Iterate over the lines of one file."""
        for result in results:
            if result.outcome not in GOOD:
                yield from self._failure(result)
            elif self.verbose:
                yield f"{self._outcome(result)} {_place(result)}: {clean(result.case.title)}"
        yield f"{clean(name)}: {self._counts(results)}"

    def total(self, results: Sequence[Result]) -> str:
        """Return the last line."""
        plural = "" if len(results) == 1 else "s"
        return f"{len(results)} test{plural}: {self._counts(results)}"

    def _counts(self, results: Sequence[Result]) -> str:
        counts = Counter(result.outcome for result in results)
        parts = [
            self._paint(f"{counts[outcome]} {words}", _COLORS.get(outcome, _RED))
            for outcome, words in OUTCOMES.items()
            if counts[outcome]
        ]
        return ", ".join(reversed(parts)) or "none"

    def _outcome(self, result: Result) -> str:
        return self._paint(f"{result.outcome:<6}", _COLORS.get(result.outcome, _RED))

    # ------------------------------------------------------------------------------ failures
    def _failure(self, result: Result) -> Iterator[str]:
        head = "ERROR" if result.trial is None else "FAILED"
        yield f"{self._paint(head, _RED)} {_place(result)}: {self._paint(clean(result.case.title), _BOLD)}"
        if result.trial is None:
            yield f"  {clean(str(result.trouble))}"
        elif result.outcome == "mended":
            yield "  it is marked `# ltrules: todo`, and passes: take the mark away"
        else:
            yield from self._expected(result, result.trial)
            yield from self._timeline(result, result.trial)
        yield ""

    def _expected(self, result: Result, trial: Trial) -> Iterator[str]:
        rows = []
        for verdict in result.verdicts:
            mark = "  " if verdict.passed else self._paint("! ", _RED)
            rows.append((mark, expectation_text(verdict.expectation), _made(verdict, trial)))
        yield from self._table(("expected", "made"), rows)

    def _timeline(self, result: Result, trial: Trial) -> Iterator[str]:
        several = len(result.case.rules.rules) > 1
        rows = []
        for moment in trial.moments[:_MOMENTS]:
            left = exact_duration(moment.time_ns)
            if moment.event is not None:
                left += f"  {event_text(moment.event)}"
            rows.append(("  ", left, "\n".join(_moment(moment, trial, several))))
        yield ""
        yield from self._table(("what happened", "what was made of it"), rows)
        rest = len(trial.moments) - len(rows)
        if rest > 0:
            yield f"  … and {rest} more"

    def _table(self, titles: tuple[str, str], rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
        """Iterate over the lines of rows of a mark and two columns; both columns may take several lines."""
        width = min(max((len(left) for _, left, _ in rows), default=0), _LEFT)
        width = max(width, len(titles[0]))
        yield f"  {self._paint(titles[0].ljust(width), _BOLD)}  {self._paint(titles[1], _BOLD)}"
        for mark, left, right in rows:
            lefts = textwrap.wrap(clean(left), width, subsequent_indent="    ", break_long_words=False) or [""]
            rights = right.split("\n")
            for i in range(max(len(lefts), len(rights))):
                start = lefts[i] if i < len(lefts) else ""
                end = rights[i] if i < len(rights) else ""
                yield f"{mark if i == 0 else '  '}{start.ljust(width)}  {clean(end)}".rstrip()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text


def _place(result: Result) -> str:
    return clean(f"{result.case.span.source.name}:{result.case.span.line}")


def _made(verdict: Verdict, trial: Trial) -> str:
    """Return how many were made, and what the nearest one has that was not wanted."""
    if verdict.nearest is None:
        return str(verdict.made)
    alone = len(verdict.nearest.key) == 1
    differing = [f"{wanted_name(w, alone)} = {wanted_literal(w, value)}" for w, value in verdict.differences]
    return f"{verdict.made}; the nearest has {', '.join(differing)}"


def _moment(moment: Moment, trial: Trial, several: bool) -> Iterator[str]:
    """Iterate over what was made at a moment: "closed, unmatched", then the reports."""
    counted: dict[str, list[str]] = {}
    for (rule, counter), n in moment.counted.items():
        counted.setdefault(rule, []).append(counter if n == 1 else f"{n} {counter}")
    for rule, words in counted.items():
        yield (f"{rule}: " if several else "") + ", ".join(words)
    for report in moment.reports:
        yield report_text(report, trial.start_ns, f"{report.kind} for {report.rule}" if several else report.kind)
