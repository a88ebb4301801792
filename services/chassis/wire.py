"""The vocabulary that all contracts share, as Python values: instants, durations, and `camino.type.v1.Value`.

A Value is a str, a float (numbers always are), a bool, an int (an instant, microseconds since the epoch), or a list of
str. In that form it's also kept in documents: BSON tells the five apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camino.type.v1 import value_pb2
from google.protobuf.timestamp_pb2 import Timestamp

Value = str | float | bool | int | list[str]


def instant(at: Any) -> int:
    """A Timestamp or Duration in microseconds; what is finer is cut off."""
    return int(at.seconds) * 1_000_000 + int(at.nanos) // 1_000


def set_instant(wire: Timestamp, at: int) -> None:
    """Set a message's Timestamp in place, which spares making one."""
    wire.seconds, micros = divmod(at, 1_000_000)
    wire.nanos = micros * 1_000


def timestamp(at: int) -> Timestamp:
    """The instant as a Timestamp."""
    wire = Timestamp()
    set_instant(wire, at)
    return wire


def value_of(wire: value_pb2.Value) -> Value:
    """The Value in Python's terms."""
    kind = wire.WhichOneof("kind")
    if kind == "timestamp_value":
        return instant(wire.timestamp_value)
    if kind == "string_list_value":
        return list(wire.string_list_value.values)
    value: Value = getattr(wire, kind)
    return value


def set_value(wire: value_pb2.Value, value: Any) -> None:
    """Set a Value from one in Python's terms; a tuple is taken for a list."""
    if isinstance(value, str):
        wire.string_value = value
    elif isinstance(value, bool):
        wire.bool_value = value
    elif isinstance(value, float):
        wire.double_value = value
    elif isinstance(value, int):
        set_instant(wire.timestamp_value, value)
    else:
        wire.string_list_value.values.extend(value)


def set_values(wire: Any, values: Mapping[str, Any]) -> None:
    """Set the entries of a map of Values."""
    for name, value in values.items():
        set_value(wire[name], value)
