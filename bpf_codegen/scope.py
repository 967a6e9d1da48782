"""One rule as the parts of the generator see it: its number, the struct of its key, and where its things lie."""

from __future__ import annotations

from dataclasses import dataclass

from bpf_codegen.keys import key_types
from bpf_codegen.layout import Place, Places, places
from bpf_codegen.plan import Group, Plan, Rule


@dataclass(frozen=True, slots=True)
class RuleScope:
    """A rule within its plan; `key` is the name of its key's struct, "" for a rule without one."""

    rule: Rule
    index: int
    key: str
    places: Places

    @property
    def table(self) -> Place:
        return self.places.tables[self.index]

    @property
    def key_argument(self) -> str:
        """The parameter by which functions of the rule take a key."""
        return f"const struct {self.key} *key"

    def group_map(self, group: Group) -> str:
        """Return the name of the map from a group's key to its number."""
        return f"{self.rule.name}_{group.name}"


def rule_scopes(plan: Plan) -> tuple[RuleScope, ...]:
    """Return the scopes of all rules of a plan."""
    kinds, where = key_types(plan), places(plan)
    return tuple(RuleScope(rule, i, kinds.get(rule.key, ""), where) for i, rule in enumerate(plan.rules))
