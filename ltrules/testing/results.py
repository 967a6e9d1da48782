"""What became of the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ltrules.cases import Case
from ltrules.errors import LtrulesError
from ltrules.testing.coverage import Coverage
from ltrules.testing.judging import Verdict, judge
from ltrules.testing.running import Trial, run_case

#: Outcomes of a test, worst first, and what people call several of them.
OUTCOMES = {
    "error": "could not run",
    "failed": "failed",
    "mended": "marked todo and passed",
    "todo": "todo",
    "passed": "passed",
}
GOOD = ("passed", "todo")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a test; without a trial, `trouble` says why it could not be run."""

    case: Case
    trial: Trial | None
    verdicts: tuple[Verdict, ...] = ()
    trouble: LtrulesError | None = None

    @property
    def outcome(self) -> str:
        """One of OUTCOMES."""
        if self.trial is None:
            return "error"
        passed = all(verdict.passed for verdict in self.verdicts)
        if self.case.todo:
            return "mended" if passed else "todo"
        return "passed" if passed else "failed"

    @property
    def exit_status(self) -> int:
        """0 if all is as it should be; see docs/language.md, section 7."""
        if self.trouble is not None:
            return self.trouble.exit_status
        return 0 if self.outcome in GOOD else 1


def run_cases(cases: Sequence[Case], coverage: Coverage | None = None) -> Iterator[Result]:
    """Run tests, and judge them; one that cannot be run does not keep the others from it."""
    for case in cases:
        try:
            trial = run_case(case, coverage.watch if coverage else None)
        except LtrulesError as error:
            yield Result(case, None, trouble=error)
            continue
        if coverage:
            coverage.add(case.rules, trial)
        yield Result(case, trial, judge(case, trial.reports, trial.stats, trial.start_ns))
