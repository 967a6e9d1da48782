"""Resolve names: fields, captures, the running context, parameters and constants, with no fallback between rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ltrules import model, syntax
from ltrules.catalog.events import Event, Field, Shape
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place
from ltrules.diagnostics import Edit, Fix, Severity
from ltrules.source import Span
from ltrules.types import BOOL, COMM_BYTES, DURATION, INT, STRING_BYTES, UNSIGNED, Kind, Type, string

if TYPE_CHECKING:
    from ltrules.check.expressions import Typer

no_symbols: Mapping[int, str] = MappingProxyType({})

#: The running context: written name -> (name in the model, type).
CONTEXT = {
    ("task", "tid"): ("tid", Type(Kind.INT, size=4)),
    ("task", "tgid"): ("tgid", Type(Kind.INT, size=4)),
    ("task", "comm"): ("comm", string(COMM_BYTES)),
    ("task", "uid"): ("uid", Type(Kind.INT, signed=False, size=4)),
    ("task", "ppid"): ("ppid", Type(Kind.INT, size=4)),
    ("cpu", "id"): ("cpu", Type(Kind.INT, signed=False, size=4)),
    ("cpu", "node"): ("node", Type(Kind.INT, size=4)),
    ("cgroup", "id"): ("cgroup", UNSIGNED),
    ("time", "mono"): ("mono", DURATION),
    ("time", "boot"): ("boot", DURATION),
}
_CONTEXTS = {head for head, _ in CONTEXT}
#: What may be known of a measurement beside its values.
MEASURED = {
    "latency": DURATION,
    "outcome": string(STRING_BYTES),
    "overdue": DURATION,
    "late": BOOL,
    "suppressed": INT,
    "breakdown": None,  # legs come with `step`
}


class Names:
    """Resolves the names of a rule set."""

    def __init__(self, problems: Problems, typer: Typer) -> None:
        self.problems = problems
        self.typer = typer

    def resolve(self, node: syntax.Name, place: Place, symbols: Mapping[int, str]) -> model.Expr:
        """Return what a name means at a place. Raises Mistake."""
        head, rest = node.path[0], node.path[1:]
        if not rest and head in place.bound:
            return place.bound[head]
        if head == "ev" and rest:
            return self._field(node, rest, place)
        if head in _CONTEXTS and rest:
            return self._context(node, place)
        if head in ("key", "in", "out", "at") or head in place.labels:
            return self._captured(node, place)
        if rest and head in place.scope.imports:
            return self._constant(node, place)
        if rest:
            if head in MEASURED:
                raise self.problems.unavailable(f"`{node}` (legs of a chain)", node.span)
            if place.event and head in place.event.fields:
                raise self.problems.unavailable(f"following pointers (`{node}`)", node.span)
            raise self._unknown(node, place)
        return self._bare(node, place, symbols)

    def _bare(self, node: syntax.Name, place: Place, symbols: Mapping[int, str]) -> model.Expr:
        (name,) = node.path
        outer = self._outer(node, place)
        if place.event and name in place.event.fields:
            if outer is not None:
                self._shadowed(node, place)
            return self._field(node, (name,), place)
        if name in MEASURED and name in place.measured:
            return self._measured(node)
        if outer is not None:
            return outer
        for value, symbol in symbols.items():
            if symbol == name:
                return model.Constant(INT, value)
        if symbols and name.isupper():
            raise self.problems.unknown(
                "LT203",
                f"the values here have no name `{name}`",
                node.span,
                name,
                symbols.values(),
                notes=["their names: " + ", ".join(list(symbols.values())[:16])],
            )
        raise self._unknown(node, place)

    def _outer(self, node: syntax.Name, place: Place) -> model.Expr | None:
        """Return the parameter or constant of a bare name, if there is one."""
        (name,) = node.path
        if name in place.params:
            param = place.params[name]
            return model.Parameter(param.type, param.name)
        if name in place.scope.consts:
            return self._constant(node, place)
        return None

    def _constant(self, node: syntax.Name, place: Place) -> model.Expr:
        scope, path = place.scope.alias(node.path)
        if len(path) != 1 or path[0] not in scope.consts:
            raise self.problems.unknown(
                "LT203", f"`{node}` is not a constant of the imported file", node.span, path[-1], scope.consts
            )
        const = scope.consts[path[0]]
        if place.depth > 30:
            raise self.problems.note("LT209", f"the constant `{const.name}` uses itself", node.span)
        if isinstance(const.value, syntax.ListExpr):
            raise self.problems.note("LT211", f"`{node}` is a list", node.span, "it stands only after `one of`")
        return self.typer.expr(const.value, place.inside_macro(scope, {}))

    def list_of(self, node: syntax.Name, place: Place) -> tuple[syntax.ListExpr, Place]:
        """Return the list that a name after `one of` stands for, and the place from which its items are read."""
        scope, path = place.scope.alias(node.path)
        if len(path) == 1 and path[0] in scope.consts:
            value = scope.consts[path[0]].value
            if isinstance(value, syntax.ListExpr):
                return value, place.inside_macro(scope, {})
            raise self.problems.note("LT211", f"`{node}` is not a list", node.span, "`one of` needs one")
        lists = [n for n, c in scope.consts.items() if isinstance(c.value, syntax.ListExpr)]
        raise self.problems.unknown("LT203", f"there is no list `{node}`", node.span, path[-1], lists)

    # -------------------------------------------------------------------------------- fields
    def _field(self, node: syntax.Name, path: tuple[str, ...], place: Place) -> model.Expr:
        event = self._event(node, place)
        if len(path) > 1:
            raise self.problems.unavailable(f"following pointers (`{node}`)", node.span)
        if path[0] not in event.fields:
            raise self._unknown_field(node, path[0], event)
        field = event.fields[path[0]]
        return model.EventField(self._field_type(node.span, field, event), field)

    def _field_type(self, span: Span, field: Field, event: Event) -> Type:
        match field.shape:
            case Shape.INT if field.size in (1, 2, 4, 8):
                return Type(Kind.INT, field.signed, field.size)
            case Shape.STRING:
                return string(-(-field.size // 8) * 8)
            case Shape.DYNAMIC_STRING:
                return string(STRING_BYTES)
        helps = [f"pick an element: `{field.name}[0]`"] if field.element_size else []
        raise self.problems.note(
            "LT211",
            f"`{field.name}` of {event.full_name} cannot be read by a rule",
            span,
            f"it is `{field.c_type}`",
            helps=helps,
        )

    def element(self, node: syntax.Index, place: Place) -> model.Expr:
        """Return one element of a field that is an array of numbers, as `args[0]`."""
        if node.path or not isinstance(node.base, syntax.Name):
            raise self.problems.unavailable("following pointers", node.span)
        path = node.base.path[1:] if node.base.path[0] == "ev" else node.base.path
        event = self._event(node.base, place)
        if len(path) != 1 or path[0] not in event.fields:
            raise self._unknown_field(node.base, path[-1], event)
        field = event.fields[path[0]]
        index = self.typer.integer(node.index, place)
        if not field.element_size or field.shape is not Shape.OTHER:
            raise self.problems.note(
                "LT211", f"`{field.name}` is not an array", node.base.span, f"it is `{field.c_type}`"
            )
        length = field.size // field.element_size
        if not isinstance(index, model.Constant) or not 0 <= int(index.value) < length:
            raise self.problems.note("LT211", f"`{field.name}` has elements 0 to {length - 1}", node.index.span)
        offset = field.offset + int(index.value) * field.element_size
        element = Field(
            f"{field.name}[{index.value}]", field.c_type, Shape.INT, offset, field.element_size, field.signed
        )
        return model.EventField(Type(Kind.INT, field.signed, field.element_size), element)

    def _event(self, node: syntax.Name, place: Place) -> Event:
        if place.event is None:
            raise self.problems.note("LT204", f"{place.what} has no current event", node.span, "so it has no fields")
        return place.event

    def _unknown_field(self, node: syntax.Name, name: str, event: Event) -> Exception:
        fields = ", ".join(event.fields)
        return self.problems.unknown(
            "LT202",
            f"{event.full_name} has no field `{name}`",
            node.span,
            name,
            event.fields,
            notes=[f"its fields: {fields}"] if fields else [],
        )

    def _shadowed(self, node: syntax.Name, place: Place) -> None:
        assert place.event
        self.problems.note(
            "LT206",
            f"`{node}` names a field of {place.event.name} and a param or const",
            node.span,
            "the field is meant",
            severity=Severity.WARNING,
            helps=[f"write `ev.{node}` for the field, or rename the other"],
        )

    # --------------------------------------------------------------- context and measurement
    def _context(self, node: syntax.Name, place: Place) -> model.Expr:
        if node.path == ("task", "pid"):
            fixes = [Fix(f"Use `{name}`", (Edit(node.span, name),), safe=False) for name in ("task.tid", "task.tgid")]
            raise self.problems.note(
                "LT205",
                "`task.pid` is ambiguous",
                node.span,
                "the thread (`task.tid`) or the process (`task.tgid`)?",
                fixes=fixes,
            )
        if node.path == ("time", "wall"):
            raise self.problems.unavailable("`time.wall`", node.span)
        if place.event is None:
            raise self.problems.note(
                "LT204",
                f"{place.what} has no current event",
                node.span,
                "what runs now is known at an event only",
                helps=[f"capture it: `capture {node}`"],
            )
        if node.path not in CONTEXT:
            known = [".".join(path) for path in CONTEXT]
            raise self.problems.unknown(
                "LT203", f"there is no `{node}`", node.span, str(node), known, [", ".join(known)]
            )
        name, sort = CONTEXT[node.path]
        return model.Context(sort, name)

    def _measured(self, node: syntax.Name) -> model.Expr:
        (name,) = node.path
        sort = MEASURED[name]
        if sort is None:
            raise self.problems.unavailable(f"`{name}` (legs of a chain)", node.span)
        return model.Measured(sort, name)

    def _captured(self, node: syntax.Name, place: Place) -> model.Expr:
        head, rest = node.path[0], node.path[1:]
        if place.broken:
            raise Mistake
        where = "key" if head == "key" else place.labels.get(head, "out" if head == "at" else head)
        values = {"key": place.key, "in": place.opened, "out": place.closed}[where]
        if values is None:
            raise self.problems.note(
                "LT203", f"`{node}` is not known in {place.what}", node.span, "no measurement was found yet"
            )
        if where == "key" and not rest and len(values) == 1:
            return model.Captured(values[0].type, "key", 0, values[0].symbols)
        names = [v.name for v in values]
        if len(rest) != 1 or rest[0] not in names:
            known = ", ".join(f"{head}.{n}" for n in names) or "nothing"
            said = "is not part of the key" if where == "key" else "was not captured"
            raise self.problems.unknown(
                "LT203", f"`{node}` {said}", node.span, rest[0] if rest else head, names, notes=[f"known: {known}"]
            )
        index = names.index(rest[0])
        return model.Captured(values[index].type, where, index, values[index].symbols)

    def _unknown(self, node: syntax.Name, place: Place) -> Exception:
        name = str(node)
        if place.event is not None:
            return self._unknown_field(node, name, place.event)
        captured = [(w, v.name) for w, vs in (("in", place.opened), ("out", place.closed)) for v in vs or ()]
        for where, known in captured:
            if known == name:
                fix = Fix(f"Change `{name}` to `{where}.{name}`", (Edit(node.span, f"{where}.{name}"),))
                return self.problems.note(
                    "LT204",
                    f"{place.what} has no current event",
                    node.span,
                    f"did you mean the captured `{where}.{name}`?",
                    fixes=[fix],
                )
        known_names = [*place.params, *place.scope.consts, *place.measured]
        notes = ["a bare name in a clause of the rule is a param or a const; a captured value is `in.NAME`"]
        return self.problems.unknown(
            "LT203", f"`{name}` is not known in {place.what}", node.span, name, known_names, notes
        )
