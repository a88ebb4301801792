"""Cells of a file: columns as a mapping writes them, and what is in them by type."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from camino.type.v1.value_pb2 import Value

from cli.importing.cells import Cell, Literal
from cli.importing.columns import Column, column, named_column
from cli.importing.instants import instant_reader
from cli.importing.typed_cells import value_reader

MADRID = ZoneInfo("Europe/Madrid")
SECOND = 1_000_000


def read(written: str, cell: Cell, zone: ZoneInfo | None = None) -> Value:
    return value_reader(column(written), zone)(cell)


def at(written: str, cell: Cell, zone: ZoneInfo | None = None) -> int:
    return instant_reader(column(written), zone)(cell)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("value", Column("value", "", "")),
        ("value:number", Column("value", "number", "")),
        ("a:b", Column("a:b", "", "")),
        ("a:b:bool", Column("a:b", "bool", "")),
        ("tags:list(;)", Column("tags", "list", ";")),
        ("day:timestamp(%d/%m/%Y %H:%M)", Column("day", "timestamp", "%d/%m/%Y %H:%M")),
        ("at:epoch_ms", Column("at", "epoch_ms", "")),
        ("number", Column("number", "", "")),
    ],
)
def test_a_column_is_a_name_and_perhaps_a_type(written: str, expected: Column):
    assert column(written) == expected


@pytest.mark.parametrize("written", ["", "tags:list(;;)", "value:number(2)"])
def test_what_is_no_column(written: str):
    with pytest.raises(ValueError):
        column(written)


def test_what_a_column_is_called():
    assert named_column("amount=value:number") == ("amount", "value:number")
    assert named_column("value:number") == ("value", "value:number")
    for written in ("=value", "amount="):
        with pytest.raises(ValueError, match="NAME=COLUMN"):
            named_column(written)


@pytest.mark.parametrize(
    ("written", "cell", "expected"),
    [
        ("c", "12", Value(string_value="12")),
        ("c", Literal("12.50"), Value(double_value=12.5)),
        ("c", True, Value(bool_value=True)),
        ("c:string", Literal("12.50"), Value(string_value="12.50")),
        ("c:string", True, Value(string_value="true")),
        ("c:number", " -1.5e3 ", Value(double_value=-1500)),
        ("c:number", "007", Value(double_value=7)),
        ("c:bool", "Yes", Value(bool_value=True)),
        ("c:bool", "0", Value(bool_value=False)),
    ],
)
def test_values(written: str, cell: Cell, expected: Value):
    assert read(written, cell) == expected


@pytest.mark.parametrize(
    ("written", "cell", "expected"),
    [
        ("c:list", "a, b", ["a", "b"]),
        ("c:list(;)", 'a;"b;c"', ["a", "b;c"]),
        ("c:list", ["a,b"], ["a,b"]),
        ("c", ["a", "b"], ["a", "b"]),
        ("c:list", "", []),
    ],
)
def test_lists(written: str, cell: Cell, expected: list[str]):
    assert list(read(written, cell).string_list_value.values) == expected


@pytest.mark.parametrize(
    ("written", "cell", "wrong"),
    [
        ("c:number", "12,50", "'12,50' is no number"),
        ("c:number", "1_000", "is no number"),
        ("c:number", "nan", "is no number"),
        ("c:number", "1e999", "is no number"),
        ("c:number", "٣", "is no number"),
        ("c:number", ["1"], "is a list"),
        ("c:bool", "maybe", "'maybe' is neither true nor false"),
        ("c:list", '"a', "is no list"),
        ("c:timestamp", "soon", "'soon' is not an ISO 8601 instant"),
        ("c:timestamp", "2026-02-30T00:00:00Z", "is not an ISO 8601 instant"),
        ("c:timestamp", "2026-02-03", "names no offset from UTC"),
        ("c:timestamp(%d/%m/%Y)", "2026-02-03", "is not an instant like %d/%m/%Y"),
        ("c:epoch", "tomorrow", "is no time since 1970"),
        ("c:epoch", "1e20", "is no time since 1970"),
        ("c:epoch", "nan", "is no time since 1970"),
    ],
)
def test_what_is_wrong_is_said(written: str, cell: Cell, wrong: str):
    with pytest.raises(ValueError, match=wrong):
        read(written, cell)


def test_a_long_cell_is_shown_by_its_beginning():
    with pytest.raises(ValueError) as raised:
        read("c:number", "x" * 5000)
    assert len(str(raised.value)) < 80


@pytest.mark.parametrize(
    ("written", "cell", "seconds"),
    [
        ("c", "1970-01-01T00:00:10Z", 10),
        ("c", "1970-01-01T01:00:10.5+01:00", 10.5),
        ("c", "1970-01-02", 23 * 3600),
        ("c", "1970-07-02T12:00", 182.5 * 86400 - 3600),
        ("c:timestamp(%d.%m.%Y)", "02.01.1970", 23 * 3600),
        ("c:timestamp(%Y%m%d %z)", "19700102 +0000", 24 * 3600),
        ("c:epoch", "1.25", 1.25),
        ("c:epoch", Literal("-10"), -10),
        ("c:epoch_ms", "1500", 1.5),
    ],
)
def test_instants_where_madrid_is_the_default(written: str, cell: Cell, seconds: float):
    assert at(written, cell, MADRID) == seconds * SECOND


def test_a_zone_keeps_its_summer_time():
    winter, summer = at("c", "2026-01-01T12:00", MADRID), at("c", "2026-07-01T12:00", MADRID)
    assert at("c", "2026-01-01T11:00Z") == winter
    assert at("c", "2026-07-01T10:00Z") == summer


def test_the_calendar_ends():
    assert at("c", "0001-01-01T00:00:00Z") < at("c", "9999-12-31T23:59:59.999999Z")
    with pytest.raises(ValueError, match="years 1 to 9999"):
        at("c", "9999-12-31T23:59:59-01:00")


def test_a_type_that_is_no_instant():
    with pytest.raises(ValueError, match="number is no type of an instant"):
        instant_reader(column("c:number"), None)
