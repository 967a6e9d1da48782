"""Build the scopes of rule files: what they define, and what they import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ltrules import syntax
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Scope
from ltrules.errors import InputError
from ltrules.source import COMMAND_LINE, Span

#: Reads and parses the file at a path; diagnostics of its syntax are noted by the reader.
Reader = Callable[[Path], syntax.File]


class ScopeBuilder:
    """Builds scopes; every file is read once however often it is imported."""

    def __init__(self, problems: Problems, read: Reader, standard: Path | None) -> None:
        self.problems = problems
        self._read = read
        self._standard = standard
        self._known: dict[Path, Scope] = {}
        self._open: list[Path] = []

    def build(self, file: syntax.File) -> Scope:
        """Return the scope of a file; mistakes are noted, what they touch is left out."""
        scope = Scope(file)
        places: dict[str, Span] = {}
        for item in file.items:
            match item:
                case syntax.Const():
                    if self._define(places, item.name, item.name_span):
                        scope.consts[item.name] = item
                case syntax.Macro():
                    if self._define(places, item.name, item.name_span):
                        scope.macros[item.name] = item
                case syntax.Param():
                    if self._define(places, item.name, item.name_span):
                        scope.params[item.name] = item
                case syntax.DerivedRule() | syntax.Rule(name=str()):
                    assert item.name
                    if self._define(places, f"rule {item.name}", item.name_span, item.name):
                        scope.rules[item.name] = item
                case syntax.Import():
                    self._import(scope, item)
                case syntax.Requires():
                    self.problems.unavailable("`requires`", item.span)
                case syntax.Rule() | syntax.TestBlock():
                    pass
        self._import_subject(scope)
        return scope

    def _define(self, places: dict[str, Span], name: str, span: Span, shown: str = "") -> bool:
        if name in places:
            self.problems.note(
                "LT210", f"`{shown or name}` is defined twice", span, related=[(places[name], "first defined here")]
            )
            return False
        places[name] = span
        return True

    def _import(self, scope: Scope, item: syntax.Import) -> None:
        alias = item.alias or Path(item.path.value.removeprefix("std:")).stem
        try:
            path = self._locate(item, scope.file.source.name)
            if alias in scope.imports:
                raise self.problems.note("LT210", f"`{alias}` is imported twice", item.span)
            scope.imports[alias] = self._load(item, path)
        except Mistake:
            pass

    def _import_subject(self, scope: Scope) -> None:
        """Make the rules of `x.lt` known in `x_test.lt` beside it, and its other names as `x.NAME`."""
        if not scope.tested_name:
            return
        path = Path(scope.file.source.name).parent / scope.tested_name
        if is_file(path) and inside(path.parent, path.name) and path.resolve() not in self._open:
            scope.subject = self._once(path)
            scope.imports.setdefault(path.stem, scope.subject)

    def _locate(self, item: syntax.Import, importer: str) -> Path:
        text = item.path.value
        if text.startswith("pack:"):
            raise self.problems.unavailable("importing from a pack", item.path.span)
        if text.startswith("std:"):
            if self._standard is None:
                raise self.problems.note("LT209", "the standard rules are not installed", item.path.span)
            root, text = self._standard, text.removeprefix("std:")
        else:
            root = Path.cwd() if importer == COMMAND_LINE else Path(importer).parent
        path = inside(root, text)
        if path is None:
            raise self.problems.note(
                "LT209",
                f"the import `{item.path.value}` leaves the directory of the file",
                item.path.span,
                "only files beside or below it can be imported",
            )
        return path

    def _load(self, item: syntax.Import, path: Path) -> Scope:
        if path in self._open:
            chain = " -> ".join(p.name for p in [*self._open[self._open.index(path) :], path])
            raise self.problems.note("LT209", f"files import each other: {chain}", item.span)
        try:
            return self._once(path)
        except InputError as error:
            # The path as written: where the importing file lies is told by the place of the mistake.
            reason = str(error).replace(str(path), item.path.value)
            raise self.problems.note("LT209", f"cannot import: {reason}", item.path.span) from None

    def _once(self, path: Path) -> Scope:
        """Return the scope of the file at a path, read when it is first asked for. Raises InputError."""
        known = path.resolve()
        if known not in self._known:
            file = self._read(path)
            self._open.append(known)
            self._known[known] = self.build(file)
            self._open.pop()
        return self._known[known]


def inside(directory: Path, text: str) -> Path | None:
    """Return the path that a file names from its directory; None if it leads out of that."""
    path = (directory / text).resolve()
    return None if Path(text).is_absolute() or not path.is_relative_to(directory.resolve()) else path


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a name that no file can have is that of none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
