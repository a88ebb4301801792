"""Cells of a row as the fields of an item: what is wrong with one is told by the field and the column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar
from zoneinfo import ZoneInfo

from camino.type.v1.value_pb2 import Value

from cli.importing import cells
from cli.importing.cells import Cell, Row
from cli.importing.columns import column
from cli.importing.records import Unmappable
from cli.importing.typed_cells import value_reader

_Read = TypeVar("_Read")


def at_column(field: str, name: str, read: Callable[[Cell], _Read], cell: Cell) -> _Read:
    """What a cell of this column is. Raises `Unmappable`."""
    try:
        return read(cell)
    except ValueError as error:
        raise Unmappable(field, f"column {name!r}: {error}") from None


def text_at(field: str, name: str, row: Row) -> str:
    """Empty if there's none. Raises `Unmappable` for a list."""
    return at_column(field, name, cells.text, row.get(name, ""))


class NamedValues:
    """Properties, or attributes: columns of types, each under a name."""

    def __init__(self, field: str, columns: Mapping[str, str], zone: ZoneInfo | None) -> None:
        self._columns = [
            (name, f"{field}.{name}", parsed.name, value_reader(parsed, zone))
            for name, parsed in ((name, column(written)) for name, written in columns.items())
        ]

    @property
    def columns(self) -> set[str]:
        return {column_name for _, _, column_name, _ in self._columns}

    def of(self, row: Row) -> Iterator[tuple[str, Value]]:
        """Those that the row has. Raises `Unmappable`."""
        for name, field, column_name, read in self._columns:
            cell = row.get(column_name, "")
            if cell != "":
                yield name, at_column(field, column_name, read, cell)
