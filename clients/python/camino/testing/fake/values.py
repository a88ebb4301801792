"""Instants and values as Python has them, to be compared. Instants are microseconds since the epoch; what is finer is
cut off, as the services do."""

from __future__ import annotations

from collections.abc import Mapping

from camino.type.v1 import value_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE

EARLIEST = -62_135_596_800 * SECOND
LATEST = 253_402_300_800 * SECOND
"""The years 1 to 9999: [EARLIEST, LATEST)."""

Value = str | float | bool | int | tuple[str, ...]
"""Text, a number (always float), a truth value, an instant (int), or a list of strings."""


def instant(at: Timestamp | Duration) -> int:
    return at.seconds * SECOND + at.nanos // 1_000


def timestamp(at: int) -> Timestamp:
    seconds, micros = divmod(at, SECOND)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


def value_of(wire: value_pb2.Value) -> Value:
    kind = wire.WhichOneof("kind")
    if kind == "timestamp_value":
        return instant(wire.timestamp_value)
    if kind == "string_list_value":
        return tuple(wire.string_list_value.values)
    value: Value = getattr(wire, kind or "string_value")
    return value


def values_of(wire: Mapping[str, value_pb2.Value]) -> dict[str, Value]:
    return {name: value_of(value) for name, value in wire.items()}


def kept(wire: value_pb2.Value) -> value_pb2.Value:
    """The value as it's kept: an instant to the microsecond."""
    if wire.WhichOneof("kind") == "timestamp_value":
        return value_pb2.Value(timestamp_value=timestamp(instant(wire.timestamp_value)))
    return wire
