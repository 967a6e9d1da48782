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
                case syntax.TestBlock():
                    self.problems.unavailable("`test`", item.span)
                case syntax.Rule():
                    pass
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
        path = (root / text).resolve()
        if Path(text).is_absolute() or not path.is_relative_to(root.resolve()):
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
        if path not in self._known:
            try:
                file = self._read(path)
            except InputError as error:
                # The path as written: where the importing file lies is told by the place of the mistake.
                reason = str(error).replace(str(path), item.path.value)
                raise self.problems.note("LT209", f"cannot import: {reason}", item.path.span) from None
            self._open.append(path)
            self._known[path] = self.build(file)
            self._open.pop()
        return self._known[path]
