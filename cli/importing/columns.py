"""How a mapping names a column and says what is in it: `value:number`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TYPES = "string|number|bool|list|timestamp|epoch_ms|epoch"
_COLUMN = re.compile(rf"(?P<name>.+?)(?::(?P<type>{_TYPES})(?:\((?P<argument>.+)\))?)?", re.DOTALL)
_WITH_ARGUMENT = ("list", "timestamp")


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    """Empty if it isn't said: text in CSV, and in JSON whatever it is there."""
    argument: str
    """The separator of a list, or the pattern of a timestamp (as `strptime` has them)."""


def column(written: str) -> Column:
    """`name`, `name:type`, `name:list(;)`, `name:timestamp(%d/%m/%Y)`. Raises ValueError."""
    match = _COLUMN.fullmatch(written)
    if match is None:
        raise ValueError("name a column")
    name, type_, argument = match["name"], match["type"] or "", match["argument"] or ""
    if argument and type_ not in _WITH_ARGUMENT:
        raise ValueError(f"{type_} takes nothing in brackets")
    if type_ == "list" and len(argument) > 1:
        raise ValueError(f"a list is parted by one character, not by {argument!r}")
    return Column(name, type_, argument)


def named_column(written: str) -> tuple[str, str]:
    """`name=column:type`, or `column:type` for what is to be named as its column. The name, and the column as it's
    written. Raises ValueError."""
    name, equals, rest = written.partition("=")
    if equals:
        if not (name and rest):
            raise ValueError(f"{written!r}: write it as NAME=COLUMN")
        return name, rest
    return column(written).name, written
