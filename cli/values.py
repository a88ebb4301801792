"""Values, identities and instants as they're written on a command line. Pure; ValueError says what is wrong."""

from __future__ import annotations

import re

from camino.profile.v1.profile_pb2 import Identity
from camino.type.v1.value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def identity(text: str) -> Identity:
    """`email:ana@example.com`; the value may hold colons."""
    namespace, colon, value = text.partition(":")
    if not (namespace and colon and value):
        raise ValueError(f"{text!r} is no identity; write it as namespace:value, such as email:ana@example.com")
    return Identity(namespace=namespace, value=value)


def assignment(text: str) -> tuple[str, Value]:
    """`name=value`: a number, true or false, else text. What begins with a zero (`0123`) is text: it's a code, not a
    number."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"{text!r} is no property; write it as name=value, such as value=12.5")
    return name, typed(value)


def typed(text: str) -> Value:
    if text in ("true", "false"):
        return Value(bool_value=text == "true")
    if _NUMBER.fullmatch(text):
        return Value(double_value=float(text))
    return Value(string_value=text)


def instant(text: str) -> Timestamp:
    """RFC 3339, such as `2026-11-24T09:00:00Z`."""
    at = Timestamp()
    try:
        at.FromJsonString(text)
    except ValueError:
        raise ValueError(f"{text!r} is no instant; write it like 2026-11-24T09:00:00Z") from None
    return at


def shown(value: Value) -> str:
    """For a table."""
    kind = value.WhichOneof("kind")
    if kind == "timestamp_value":
        return str(value.timestamp_value.ToJsonString())
    if kind == "double_value":
        return f"{value.double_value:.15g}"
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "string_list_value":
        return ", ".join(value.string_list_value.values)
    return str(value.string_value)
