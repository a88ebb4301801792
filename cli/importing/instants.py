"""Instants as files write them, in microseconds since 1970. ValueError says what is wrong, after the column's name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from cli.importing.cells import Cell, shown, text
from cli.importing.columns import Column

ReadInstant = Callable[[Cell], int]

_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=UTC) - _1970) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=UTC) - _1970) // _MICROSECOND


def zone_of(name: str) -> ZoneInfo | None:
    """The zone of dates and times that don't say theirs; None for an empty name."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is no time zone; name one like Europe/Madrid, or UTC") from None


def instant_reader(column: Column, zone: ZoneInfo | None) -> ReadInstant:
    """How a column's cells become instants. What says its offset from UTC is taken by that, else by the `zone`; of an
    hour that comes twice there, as when summer time ends, the first is meant.

    Raises ValueError if the column's type is none of an instant.
    """
    if column.type in ("epoch", "epoch_ms"):
        unit = Decimal(1_000_000 if column.type == "epoch" else 1_000)
        return lambda cell: _epoch(cell, unit)
    if column.type not in ("", "timestamp"):
        raise ValueError(f"{column.type} is no type of an instant: timestamp, epoch, epoch_ms")
    pattern = column.argument
    read = (lambda written: datetime.strptime(written, pattern)) if pattern else datetime.fromisoformat
    wanted = f"an instant like {pattern}" if pattern else "an ISO 8601 instant"

    def by_calendar(cell: Cell) -> int:
        try:
            at = read(text(cell).strip())
        except ValueError:
            raise ValueError(f"{shown(cell)} is not {wanted}") from None
        if at.tzinfo is None:
            if zone is None:
                raise ValueError(f"{shown(cell)} names no offset from UTC, and no default zone is given")
            at = at.replace(tzinfo=zone)
        # An hour at either end of the calendar may not exist in UTC; this subtraction has no such ends.
        return _bounded((at - _1970) // _MICROSECOND, cell)

    return by_calendar


def timestamp(micros: int) -> Timestamp:
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)


def _epoch(cell: Cell, unit: Decimal) -> int:
    try:
        return _bounded(int(Decimal(text(cell).strip()) * unit), cell)
    except (InvalidOperation, OverflowError, ValueError):
        raise ValueError(f"{shown(cell)} is no time since 1970 in the years 1 to 9999") from None


def _bounded(micros: int, cell: Cell) -> int:
    if not _EARLIEST <= micros <= _LATEST:
        raise ValueError(f"{shown(cell)} is not in the years 1 to 9999")
    return micros
