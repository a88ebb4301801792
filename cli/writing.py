"""From a message to YAML, as short as `definitions` reads it: a file that is applied says the same again."""

from __future__ import annotations

from typing import Any

import yaml
from camino.type.v1.value_pb2 import Value
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cli import durations, source
from cli.definitions import VALUE, only_list

_MOST_DIGITS = 1e15
"""Whole numbers below it are written without a point."""


def document(kind: str, id_: str, spec: Message) -> str:
    """What `camino apply` takes."""
    return text({"kind": kind, "id": id_, "spec": plain(spec)})


def text(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def plain(message: Message) -> Any:
    """Of a message: the mapping, list or value that is read as it."""
    name = message.DESCRIPTOR.full_name
    if name == VALUE:
        return _value(message)
    if name == "google.protobuf.Duration":
        return durations.shown(message)  # type: ignore[arg-type]
    if name == "google.protobuf.Timestamp":
        return message.ToJsonString()  # type: ignore[attr-defined]
    if only := only_list(message.DESCRIPTOR):
        return [_one(only, item) for item in getattr(message, only.name)]
    return {field.json_name: _field(field, value) for field, value in message.ListFields()}


def _field(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {str(key): _one(entry, item) for key, item in value.items()}
    return [_one(field, item) for item in value] if field.is_repeated else _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return _number(value) if isinstance(value, float) else value


def _value(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "timestamp_value":
        return {"timestampValue": plain(value.timestamp_value)}
    if kind == "string_list_value":
        return plain(value.string_list_value)
    held = getattr(value, kind) if kind else {}
    return _number(held) if isinstance(held, float) else held


def _number(number: float) -> float | int:
    is_short = number.is_integer() and abs(number) < _MOST_DIGITS and str(number) != "-0.0"
    return int(number) if is_short else number


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes where it would be taken for something else without."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # Items of a list stand further in than its name.
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # Without escapes line breaks would be folded, of which Unicode has more than one.
    is_plain = value.isprintable() and isinstance(source.scalar(yaml.ScalarNode("", value)), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if is_plain else '"')


_Dumper.add_representer(str, _text)
