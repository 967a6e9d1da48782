"""Results for people: a line for each file, and for each test that failed what was expected beside what was made."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

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

#: The widest that two columns get, and the most moments of a test that are shown.
_LEFT, _RIGHT = 56, 60
_MOMENTS = 20
#: An equals sign between spaces at which no line ends.
_HELD = "\xa0=\xa0"
_RED, _GREEN, _YELLOW, _BOLD = "31", "32", "33", "1"
_COLORS = {"passed": _GREEN, "todo": _YELLOW}
_HEADS = {"error": "ERROR", "failed": "FAILED", "mended": "FAILED"}


class Paint:
    """Colours text, or leaves it as it is."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text


_PLAIN = Paint(False)


def file_lines(name: str, results: Sequence[Result], color: bool = False, verbose: bool = False) -> Iterator[str]:
    """Iterate over the lines of one file: the tests that failed, and how many did what."""
    paint = Paint(color)
    for result in results:
        if result.outcome not in GOOD:
            yield f"{paint(_HEADS[result.outcome], _RED)} {_place(result)}: {paint(clean(result.case.title), _BOLD)}"
            yield from failure_lines(result, paint)
            yield ""
        elif verbose:
            outcome = paint(f"{result.outcome:<6}", _COLORS[result.outcome])
            yield f"{outcome} {_place(result)}: {clean(result.case.title)}"
    yield f"{clean(name)}: {_counts(results, paint)}"


def total_line(results: Sequence[Result], color: bool = False) -> str:
    """Return the last line."""
    plural = "" if len(results) == 1 else "s"
    return f"{len(results)} test{plural}: {_counts(results, Paint(color))}"


def failure_lines(result: Result, paint: Paint = _PLAIN) -> Iterator[str]:
    """Iterate over what went wrong in a test: what was expected beside what was made, and when."""
    if result.trial is None:
        yield f"  {clean(str(result.trouble))}"
    elif result.outcome == "mended":
        yield "  it is marked `# ltrules: todo`, and passes: take the mark away"
    else:
        yield from _expected(result, result.trial, paint)
        yield ""
        yield from _timeline(result, result.trial, paint)
        yield from (f"  note: {clean(note)}" for note in result.trial.notes)


def _counts(results: Sequence[Result], paint: Paint) -> str:
    counts = Counter(result.outcome for result in results)
    parts = [
        paint(f"{counts[outcome]} {words}", _COLORS.get(outcome, _RED))
        for outcome, words in OUTCOMES.items()
        if counts[outcome]
    ]
    return ", ".join(reversed(parts)) or "none"


def _expected(result: Result, trial: Trial, paint: Paint) -> Iterator[str]:
    rows = []
    for verdict in result.verdicts:
        mark = "  " if verdict.passed else paint("! ", _RED)
        rows.append((mark, expectation_text(verdict.expectation), [_made(verdict)]))
    return _table(("expected", "made"), rows, paint)


def _timeline(result: Result, trial: Trial, paint: Paint) -> Iterator[str]:
    several = len(result.case.rules.rules) > 1
    rows = []
    for moment in trial.moments[:_MOMENTS]:
        left = exact_duration(moment.time_ns)
        if moment.event is not None:
            known = result.case.catalog.find(moment.event.name)[0]
            left += f"  {event_text(moment.event, known)}"
        rows.append(("  ", left, list(_moment(moment, trial, several))))
    yield from _table(("what happened", "what was made of it"), rows, paint)
    rest = len(trial.moments) - len(rows)
    if rest > 0:
        yield f"  … and {rest} more"


def _table(titles: tuple[str, str], rows: Sequence[tuple[str, str, list[str]]], paint: Paint) -> Iterator[str]:
    """Iterate over the lines of rows of a mark and two columns; both columns may take several lines."""
    width = max(min(max((len(left) for _, left, _ in rows), default=0), _LEFT), len(titles[0]))
    yield f"  {paint(titles[0].ljust(width), _BOLD)}  {paint(titles[1], _BOLD)}"
    for mark, left, right in rows:
        rights = [line for text in right for line in _wrap(text, _RIGHT)]
        for i, (start, end) in enumerate(zip_longest(_wrap(left, width), rights, fillvalue="")):
            yield f"{mark if i == 0 else '  '}{start.ljust(width)}  {end}".rstrip()


def _wrap(text: str, width: int) -> list[str]:
    """Return a text as lines; a name and its value stay on one, as far as they fit."""
    whole = clean(text).replace(" = ", _HELD).replace(" }", "\xa0}")
    lines = textwrap.wrap(whole, width, subsequent_indent="    ", break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines] or [""]


def _place(result: Result) -> str:
    return clean(f"{result.case.span.source.name}:{result.case.span.line}")


def _made(verdict: Verdict) -> str:
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
