"""Values that parameters are given from outside: as people write them, and whether a parameter takes them."""

from __future__ import annotations

from ltrules import model, units
from ltrules.alert import Scalar
from ltrules.types import STRING_BYTES, Kind, Type


class OutOfRangeError(ValueError):
    """A value that a parameter does not take."""


def parse_setting(text: str, param: model.Param) -> Scalar:
    """Return a value as people write it. Raises ValueError with the reason, OutOfRangeError too."""
    value = _parse(text, param.type)
    check_value(param, value)
    return value


def check_value(param: model.Param, value: Scalar) -> None:
    """Raise ValueError, with the reason, for a value that a parameter does not take; OutOfRangeError is one."""
    if isinstance(value, str) != (param.type.kind is Kind.STRING):
        raise ValueError(f"a param of type {param.type.kind.value} needs one")
    if isinstance(value, str):
        if len(value.encode()) >= STRING_BYTES or "\0" in value:
            raise ValueError(f"at most {STRING_BYTES - 1} bytes")
        return
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("does not fit in 64 bits")
    if param.low is not None and param.high is not None and not param.low <= value <= param.high:
        low, high = (_show(bound, param.type) for bound in (param.low, param.high))
        raise OutOfRangeError(f"{_show(value, param.type)} is outside {low} to {high}")


def _parse(text: str, sort: Type) -> Scalar:
    match sort.kind:
        case Kind.DURATION:
            return units.parse_duration(text)
        case Kind.SIZE:
            return units.parse_size(text)
        case Kind.BOOL:
            if text not in ("true", "false"):
                raise ValueError("write true or false")
            return int(text == "true")
        case Kind.STRING:
            return text
        case _:
            try:
                return int(text, 0)
            except ValueError:
                raise ValueError("not a whole number") from None


def _show(value: int, sort: Type) -> str:
    return units.format_duration(value) if sort.kind is Kind.DURATION else str(value)
