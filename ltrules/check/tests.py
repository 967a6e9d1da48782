"""Check the tests of a file, with the rules that they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ltrules import cases, syntax
from ltrules.catalog.events import Catalog
from ltrules.check.blocks import BlockChecker
from ltrules.check.files import Reader, ScopeBuilder
from ltrules.check.problems import Mistake, Problems
from ltrules.check.tested import TestedScope
from ltrules.diagnostics import Diagnostic
from ltrules.source import Span


def check_tests(
    file: syntax.File, catalog: Catalog, read: Reader, standard: Path | None = None
) -> tuple[cases.Suite, tuple[Diagnostic, ...]]:
    """Return the tests of a file that check, and all diagnostics, those of the rules under test included.

    Tests and their rules are checked against `catalog`, unless a test names another. The other arguments are those of
    `check`.
    """
    problems = Problems()
    tested = TestedScope(ScopeBuilder(problems, read, standard).build(file), catalog, problems)
    found = tuple(_cases(tested, [item for item in file.items if isinstance(item, syntax.TestBlock)]))
    suite = cases.Suite(found, tuple(tested.rules()))
    return suite, tuple(sorted(set(problems.found), key=lambda d: d.order))


def _cases(tested: TestedScope, blocks: Sequence[syntax.TestBlock]) -> Iterator[cases.Case]:
    """Iterate over the tests without mistakes."""
    titles: dict[str, Span] = {}
    for block in blocks:
        before = tested.problems.errors
        title = block.title
        if title.value in titles:
            tested.problems.note(
                "LT210",
                f"two tests are called `{title.value}`",
                title.span,
                related=[(titles[title.value], "the first one is here")],
            )
        titles.setdefault(title.value, title.span)
        try:
            case = BlockChecker(tested, block).case()
        except Mistake:
            continue
        if tested.problems.errors == before:
            yield case
