"""Find the files that come with ltrules: the grammar and the rule library."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ltrules.errors import InputError
from ltrules.source import TESTS

_PACKAGE = Path(__file__).resolve().parent


@cache
def resource(name: str) -> Path:
    """Return the directory `grammar` or `rules`: in the installed package, else at the top of a checkout.

    Raises InputError if it is in neither place.
    """
    for place in (_PACKAGE / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise InputError(f"the directory `{name}` that belongs to ltrules is missing; install ltrules again")


def shipped_rules() -> list[Path]:
    """Return the rule files that come with ltrules, sorted, without their tests. Raises InputError."""
    return sorted(path for path in resource("rules").glob("*.lt") if not path.name.endswith(TESTS))
