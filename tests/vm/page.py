"""The table of docs/kernels.md that says what each kernel of the matrix has."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


def columns() -> dict[str, dict[str, str]]:
    """Return the cells of the table by the names of kernel and row. Raises ValueError if the page has none."""
    lines = [line.strip("| ").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip(" `") for cell in line] for line in lines]
    head = next((row for row in rows if row[0] == "kernel"), None)
    if head is None:
        raise ValueError(f"{PAGE} has no table that begins with `kernel`")
    body = rows[rows.index(head) + 2 :]
    return {
        name: {row[0]: row[column] for row in body if len(row) == len(head)}
        for column, name in enumerate(head)
        if column
    }
