"""Figures as text: medians with their spread, in Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles


def spread(values: Sequence[float], form: str = "{:.0f}") -> str:
    """Return the median of some values, and their quartiles in brackets."""
    if len(values) < 2:
        return form.format(median(values))
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{form.format(median(values))} ({form.format(low)}–{form.format(high)})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, rule, *rows)
    )
