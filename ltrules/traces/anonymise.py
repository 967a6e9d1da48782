"""Recordings for strangers: names and addresses are replaced, what is equal stays equal."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Set

from ltrules import model

#: Bytes of a hash in the place of a name: "#" and 12 digits fit where the kernel keeps 15 characters.
_NAME_BYTES = 6


class Anonymiser:
    """Replaces names and addresses by hashes under a random key that is kept nowhere.

    So equal ones are equal within one recording, and different in every other; nobody can try names until a hash fits.
    Those in `kept`, which rules compare with, stay as they are, and so do "" and 0.
    """

    def __init__(self, kept: Set[str] = frozenset()) -> None:
        self._kept = kept
        self._key = secrets.token_bytes(16)

    def text(self, text: str) -> str:
        """Return what stands for a string."""
        if not text or text in self._kept:
            return text
        return "#" + self._hash(text.encode(), _NAME_BYTES).hex()

    def address(self, address: int) -> int:
        """Return what stands for an address, in 63 bits."""
        if not address:
            return 0
        return int.from_bytes(self._hash(address.to_bytes(9, "big", signed=True), 8), "big") >> 1

    def _hash(self, data: bytes, size: int) -> bytes:
        return hashlib.blake2b(data, digest_size=size, key=self._key).digest()


def known_texts(rules: model.RuleSet) -> frozenset[str]:
    """Return the strings that the rules themselves name, to compare the kernel's with."""
    handlers = [handler for rule in rules.rules for handler in rule.handlers]
    exprs: list[model.Expr | None] = [rule.when for rule in rules.rules]
    exprs += [e for h in handlers for e in (*h.key, h.where, h.took, *(value for _, value in h.saves))]
    constants = [n.value for expr in exprs for n in model.walk(expr) if isinstance(n, model.Constant)]
    values = [*constants, *(param.value for param in rules.params)]
    return frozenset(value for value in values if isinstance(value, str))
