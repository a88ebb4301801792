"""What stands in a row under a column's name, and what it means as text, as a number, as true or false, as a list.

ValueError says what is wrong with a cell, as it is to follow the column's name.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping


class Literal(str):
    """A number as it stands in JSON: no digit is lost."""

    __slots__ = ()


Cell = str | bool | list[str]
"""Of CSV always text. An empty text is the same as no cell."""
Row = Mapping[str, Cell]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_YES = frozenset({"true", "yes", "1"})
_NO = frozenset({"false", "no", "0"})
_SHOWN = 40


def text(cell: Cell) -> str:
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    raise ValueError(f"{shown(cell)} is a list, not one value")


def number(cell: Cell) -> float:
    """In digits, with a point if need be: `12`, `-0.5`, `1e3`."""
    written = text(cell).strip()
    if not _NUMBER.fullmatch(written) or not math.isfinite(value := float(written)):
        raise ValueError(f"{shown(cell)} is no number")
    return value


def flag(cell: Cell) -> bool:
    """true or false, yes or no, 1 or 0, in any case."""
    word = text(cell).strip().lower()
    if word not in _YES and word not in _NO:
        raise ValueError(f"{shown(cell)} is neither true nor false")
    return word in _YES


def strings(cell: Cell, separator: str) -> list[str]:
    """A list, or a text of several parted by the separator; one that has it in itself stands in quotes, as in CSV.
    Blanks around each are dropped."""
    if isinstance(cell, list):
        return cell
    if not (written := text(cell)):
        return []
    try:
        [row] = csv.reader([written.replace("\n", " ").replace("\r", " ")], delimiter=separator, strict=True)
    except csv.Error as error:
        raise ValueError(f"{shown(cell)} is no list: {error}") from None
    return [each.strip() for each in row]


def shown(cell: Cell) -> str:
    """For a person who looks for it."""
    written = str(cell) if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
    return repr(written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…")
