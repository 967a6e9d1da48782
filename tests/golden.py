"""Golden files: what a case must produce, kept beside its rule, and rewritten by `pytest --update-golden`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bpf_codegen import plan, render
from ltrules.diagnostics import Diagnostic
from ltrules.lower import lower
from ltrules.recording import recorded_plan
from support import CATALOG, RULE, check_text

CASES = Path(__file__).parent / "cases"
#: Cases with a golden program that records too, and whether the rules are at work beside it.
RECORDED = {"block_rule": False, "string_key": False, "symbols_and_elements": False, "one_liner": True}


def case_names() -> list[str]:
    """Return the names of all cases: the directories that hold a rule file."""
    return sorted(path.parent.name for path in CASES.glob(f"*/{RULE}"))


def diagnostic_lines(diagnostics: tuple[Diagnostic, ...]) -> str:
    """Return one line for each diagnostic: `LINE:COL CODE message | label`, after its file if it is an imported one."""
    lines = []
    for d in diagnostics:
        place = f"{d.span.line}:{d.span.column}"
        if d.span.source.name != RULE:
            place = f"{d.span.source.name}:{place}"
        lines.append(f"{place} {d.code} {d.message} | {d.label}\n")
    return "".join(lines)


def case_plan(directory: Path) -> tuple[plan.Plan | None, tuple[Diagnostic, ...]]:
    """Return the plan of a case's rules, None if none of them checks, and its diagnostics. Runs in its directory."""
    rules, diagnostics = check_text((directory / RULE).read_text())
    return (lower(rules, CATALOG) if rules.rules else None), diagnostics


def case_files(directory: Path) -> dict[str, str]:
    """Return what a case produces, by file name; "" for a file that must not exist."""
    planned, diagnostics = case_plan(directory)
    recorded = ""
    if planned is not None and directory.name in RECORDED:
        recorded = render(recorded_plan(planned, 1 << 20, rules=RECORDED[directory.name]))
    return {
        "rule.bpf.c": "" if planned is None else render(planned),
        "recorded.bpf.c": recorded,
        "diagnostics.txt": diagnostic_lines(diagnostics),
    }


@dataclass(frozen=True)
class Golden:
    """Compares texts with golden files, or rewrites these."""

    update: bool

    def check(self, path: Path, text: str) -> None:
        """Fail unless the file holds the text; "" stands for no file."""
        if self.update:
            if text:
                path.write_text(text)
            else:
                path.unlink(missing_ok=True)
            return
        expected = path.read_text() if path.exists() else ""
        assert text == expected, f"{path} differs; `make golden` rewrites it"
