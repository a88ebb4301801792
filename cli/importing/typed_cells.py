"""Cells as the typed values of properties and attributes."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from camino.type.v1.value_pb2 import StringList, Value

from cli.importing import cells
from cli.importing.cells import Cell, Literal
from cli.importing.columns import Column
from cli.importing.instants import instant_reader, timestamp

ReadValue = Callable[[Cell], Value]
"""Raises ValueError that says what is wrong, after the column's name."""


def value_reader(column: Column, zone: ZoneInfo | None) -> ReadValue:
    """How a column's cells become values. `zone`: of dates and times that don't say theirs."""
    match column.type:
        case "":
            return _as_it_is
        case "string":
            return lambda cell: Value(string_value=cells.text(cell))
        case "number":
            return lambda cell: Value(double_value=cells.number(cell))
        case "bool":
            return lambda cell: Value(bool_value=cells.flag(cell))
        case "list":
            separator = column.argument or ","
            return lambda cell: _list(cells.strings(cell, separator))
    read = instant_reader(column, zone)
    return lambda cell: Value(timestamp_value=timestamp(read(cell)))


def _as_it_is(cell: Cell) -> Value:
    if isinstance(cell, Literal):
        return Value(double_value=cells.number(cell))
    if isinstance(cell, bool):
        return Value(bool_value=cell)
    return _list(cell) if isinstance(cell, list) else Value(string_value=cell)


def _list(values: list[str]) -> Value:
    return Value(string_list_value=StringList(values=values))
