"""What the tests of a file may name: rules, here and elsewhere, catalogs and traces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ltrules import model, syntax
from ltrules.catalog.events import Catalog
from ltrules.catalog.saved import load_catalog
from ltrules.check.files import inside, is_file
from ltrules.check.making import RuleMaker
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Scope
from ltrules.errors import InputError

Item = syntax.Rule | syntax.DerivedRule


class TestedScope:
    """The scope of a file of tests; every method raises Mistake when it has noted what cannot be found."""

    def __init__(self, scope: Scope, catalog: Catalog, problems: Problems) -> None:
        self.scope = scope
        self.problems = problems
        self._catalog = catalog
        self._makers: dict[Path | None, tuple[Catalog, RuleMaker]] = {}

    def maker(self, step: syntax.TestCatalog | None) -> tuple[Catalog, RuleMaker]:
        """Return a catalog, and what makes rules against it. Raises Mistake if it cannot be read."""
        path = None if step is None else self.file(step.path)
        if path not in self._makers:
            catalog = self._catalog
            if step is not None and path is not None:
                try:
                    catalog = load_catalog(path)
                except InputError as error:
                    reason = str(error).replace(str(path), step.path.value)
                    raise self.problems.note("LT252", f"cannot use this catalog: {reason}", step.path.span) from None
            self._makers[path] = catalog, RuleMaker(catalog, self.problems, {})
        return self._makers[path]

    def file(self, text: syntax.Text) -> Path:
        """Return the path of a file that a test names, which lies beside its file or below. Raises Mistake."""
        directory = Path(self.scope.file.source.name).parent
        path = directory / text.value
        if inside(directory, text.value) is None:
            raise self.problems.note(
                "LT252", f"`{text.value}` leaves the directory of the test", text.span, "name a file beside it or below"
            )
        if not is_file(path):
            raise self.problems.note("LT252", f"there is no file `{text.value}`", text.span, "beside the test")
        return path

    def find(self, name: syntax.Name) -> tuple[Item, Scope]:
        """Return the rule of a name, and the scope that it lives in. Raises Mistake."""
        home, path = self.scope.alias(name.path)
        places = [home, *([home.subject] if home is self.scope and home.subject else [])]
        for place in places:
            if len(path) == 1 and path[0] in place.rules:
                return place.rules[path[0]], place
        known = [rule for place in places for rule in place.rules]
        notes = [f"rules: {', '.join(known)}"] if known else []
        if home is self.scope and home.subject is None and (tested := home.tested_name):
            notes.append(f"there is no {tested} beside this file")
        raise self.problems.unknown("LT203", f"there is no rule `{name}`", name.span, path[-1], known, notes)

    def items(self) -> Iterator[tuple[Item, Scope]]:
        """Iterate over the rules of the file, and of the one that it tests, as written."""
        for scope in (self.scope, self.scope.subject):
            for item in scope.file.items if scope else ():
                if isinstance(item, Item) and scope and (item.name is None or scope.rules.get(item.name) is item):
                    yield item, scope

    def rules(self) -> Iterator[model.Rule]:
        """Iterate over the same rules, without those that have mistakes: what is wrong is noted by tests of them."""
        _, maker = self.maker(None)
        for item, scope in self.items():
            noted = len(self.problems.found)
            with suppress(Mistake):
                yield maker.make(item, scope.name_of(item), scope)[0]
            del self.problems.found[noted:]
