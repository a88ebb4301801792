"""From YAML to protobuf's JSON mapping of a message, guided by its descriptor; every problem found, not the first.

Beyond what protobuf's own parser takes: durations as people write them; a list in the place of a message that holds
one list and nothing else, such as the conditions of `all`; and for a value just the text, number, truth value or list
of texts that it is. Less than it takes: what is text in the contract must be text in the file, so that an article
number isn't silently made a number. `writing` writes what is read here.
"""

from __future__ import annotations

import difflib
from typing import Any

import yaml
from camino.type.v1.value_pb2 import Value
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from cli import durations, source
from cli.source import Node, Problem

_DEEPEST = 64
"""Of nested messages; protobuf's own parser stops at 100."""
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
_NUMBERS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}


VALUE: str = Value.DESCRIPTOR.full_name


def only_list(descriptor: Descriptor) -> FieldDescriptor | None:
    """The field of a message that holds one list and nothing else."""
    fields = descriptor.fields
    if len(fields) != 1 or not fields[0].is_repeated:
        return None
    return None if _is_map(fields[0]) else fields[0]


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


class Reader:
    """Reads one definition. `problems` is what was wrong; `places` is where each field stands, `(path as written,
    line)` by its path in the names of the contract."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self.places: dict[str, tuple[str, int]] = {}
        self._file = file

    def message(self, descriptor: Descriptor, node: Node, path: str, written: str, depth: int = 0) -> dict[str, Any]:
        """What `ParseDict` takes, without what has a problem."""
        self.places[path] = (written, source.line_of(node))
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, written, "a mapping of fields", f"its fields are {_names(descriptor)}")
            return {}
        if depth > _DEEPEST:
            self._problem(node, written, f"nests deeper than {_DEEPEST}", "flatten it")
            return {}
        found: dict[str, Any] = {}
        oneofs: dict[str, str] = {}
        for key, value in node.value:
            field = self._field(descriptor, key, written)
            if field is None:
                continue
            at, shown = f"{path}.{field.name}", f"{written}.{key.value}"
            if field.name in found:
                self._problem(key, shown, "is there twice", "remove one of them")
                continue
            oneof = field.containing_oneof
            if oneof is not None and oneof.name in oneofs and len(oneof.fields) > 1:
                fix = f"keep one of {_listed([f.json_name for f in oneof.fields])}"
                self._problem(key, shown, f"excludes {oneofs[oneof.name]}, which is there too", fix)
                continue
            if oneof is not None:
                oneofs[oneof.name] = key.value
            found[field.name] = self._value(field, value, at, shown, depth)
            self.places[at] = (shown, source.line_of(key))
        return {name: value for name, value in found.items() if value is not None}

    def _field(self, descriptor: Descriptor, key: Node, written: str) -> FieldDescriptor | None:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        for field in descriptor.fields:
            if name in (field.name, field.json_name):
                return field
        near = difflib.get_close_matches(name, [n for f in descriptor.fields for n in (f.json_name, f.name)], 1)
        fix = (f"did you mean {near[0]}? " if near else "") + f"allowed here: {_names(descriptor)}"
        self._problem(key, f"{written}.{name}", "unknown field", fix)
        return None

    def _value(self, field: FieldDescriptor, node: Node, path: str, written: str, depth: int) -> Any:
        if source.is_null(node):
            self._problem(node, written, "has no value", "give it one, or leave the field out")
            return None
        if _is_map(field):
            return self._map(field, node, path, written, depth)
        if not field.is_repeated:
            return self._one(field, node, path, written, depth)
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, written, "a list", "begin each item with `- `")
            return None
        return self._items(field, node, path, written, depth)

    def _items(self, field: FieldDescriptor, node: yaml.SequenceNode, path: str, written: str, depth: int) -> list[Any]:
        self.places[path] = (written, source.line_of(node))
        items = []
        for number, item in enumerate(node.value):
            at, shown = f"{path}[{number}]", f"{written}[{number}]"
            self.places[at] = (shown, source.line_of(item))
            items.append(self._one(field, item, at, shown, depth))
        return [item for item in items if item is not None]

    def _typed(self, node: Node, path: str, written: str, depth: int) -> dict[str, Any] | None:
        """A Value that is written without its type."""
        self.places[path] = (written, source.line_of(node))
        if isinstance(node, yaml.SequenceNode):
            kind = Value.DESCRIPTOR.fields_by_name["string_list_value"]
            texts = only_list(kind.message_type)
            assert texts is not None
            return {kind.name: {texts.name: self._items(texts, node, f"{path}.{kind.name}", written, depth)}}
        value = source.scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if value is None:
            self._wrong(node, written, "a value", "write a text, a number, true, false, or a list of texts")
            return None
        kinds = {str: "string_value", bool: "bool_value", int: "double_value", float: "double_value"}
        return {kinds[type(value)]: value}

    def _map(self, field: FieldDescriptor, node: Node, path: str, written: str, depth: int) -> dict[str, Any] | None:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, written, "a mapping", "write `name: value` lines")
            return None
        entry = field.message_type.fields_by_name["value"]
        return {
            str(key.value): self._one(entry, value, f'{path}["{key.value}"]', f"{written}.{key.value}", depth)
            for key, value in node.value
        }

    def _one(self, field: FieldDescriptor, node: Node, path: str, written: str, depth: int) -> Any:
        if field.message_type is not None:
            if field.message_type.full_name == "google.protobuf.Duration":
                return self._duration(node, written)
            if field.message_type.full_name == "google.protobuf.Timestamp":
                return self._timestamp(node, written)
            if field.message_type.full_name == VALUE and not isinstance(node, yaml.MappingNode):
                return self._typed(node, path, written, depth)
            if isinstance(node, yaml.SequenceNode) and (only := only_list(field.message_type)):
                return {only.name: self._items(only, node, f"{path}.{only.name}", written, depth + 1)}
            return self.message(field.message_type, node, path, written, depth + 1)
        if field.enum_type is not None:
            return self._enum(field.enum_type, node, written)
        value = source.scalar(node) if isinstance(node, yaml.ScalarNode) else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            fits, wanted, fix = isinstance(value, str), "text", f'write it in quotes: "{_text(node)}"'
            if not isinstance(node, yaml.ScalarNode):
                fix = "write a single value"
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            fits, wanted, fix = isinstance(value, bool), "true or false", "write true or false, without quotes"
        elif field.cpp_type in _INTEGERS:
            fits, wanted = is_number and isinstance(value, int), "a whole number"
            fix = "write it with digits only, without quotes"
        else:
            fits, wanted, fix = is_number, "a number", "write it like 12.5, without quotes"
        if fits:
            return value
        self._wrong(node, written, wanted, fix)
        return None

    def _duration(self, node: Node, written: str) -> str | None:
        try:
            return durations.to_protobuf(_text(node))
        except ValueError:
            self._wrong(node, written, "a duration", "write a number and its unit: 3d, 12h, 30m or 45s")
            return None

    def _timestamp(self, node: Node, written: str) -> str | None:
        try:
            Timestamp().FromJsonString(_text(node))
        except ValueError:
            self._wrong(node, written, "an instant", "write it like 2026-11-24T09:00:00Z or 2026-11-24T09:00:00+01:00")
            return None
        return _text(node)

    def _enum(self, enum: EnumDescriptor, node: Node, written: str) -> str | None:
        text = _text(node)
        if text in enum.values_by_name:
            return text
        names = [value.name for value in enum.values if value.number]
        near = [n for n in names if n.endswith(f"_{text.upper().replace('-', '_')}")]
        near = near or difflib.get_close_matches(text.upper(), names, 1)
        fix = (f"did you mean {near[0]}? " if near else "") + f"allowed here: {_listed(names)}"
        self._problem(node, written, f"no such value: {text or source.named(node)}", fix)
        return None

    def _wrong(self, node: Node, written: str, wanted: str, fix: str) -> None:
        self._problem(node, written, f"must be {wanted}, but is {source.named(node)}", fix)

    def _problem(self, node: Node, written: str, message: str, fix: str) -> None:
        self.problems.append(Problem(self._file, source.line_of(node), written, message, fix))


def _text(node: Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _names(descriptor: Descriptor) -> str:
    return _listed([field.json_name for field in descriptor.fields])


def _listed(names: list[str]) -> str:
    return ", ".join(names)
