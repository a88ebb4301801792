"""The places of a message type that hold single values: a field, the items of a list, a map's keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from buf.validate import validate_pb2
from camino.testing.schema.judge import Break, breaks
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

_NO_RULES = validate_pb2.FieldRules()


class Part(Enum):
    """Which part of a field's value a slot is."""

    WHOLE = ""
    ITEMS = "items"
    KEYS = "keys"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class Slot:
    field: FieldDescriptor
    part: Part = Part.WHOLE

    @property
    def type(self) -> FieldDescriptor:
        """What tells the type of a single value: the field, or that of the map's entry."""
        if self.part is Part.KEYS:
            return map_entry(self.field).fields_by_name["key"]
        if self.part is Part.VALUES:
            return map_entry(self.field).fields_by_name["value"]
        return self.field

    @property
    def name(self) -> str:
        """For people, e.g. `camino.type.v1.StringList.values.items`."""
        return f"{self.field.full_name}.{self.part.value}".removesuffix(".")

    @property
    def rules(self) -> Any:
        """The `buf.validate.FieldRules` of a single value; none if they are to be ignored."""
        rules = field_rules(self.field)
        if self.part is Part.ITEMS:
            rules = rules.repeated.items
        elif self.part is not Part.WHOLE:
            rules = getattr(rules.map, self.part.value)
        return _NO_RULES if rules.ignore == validate_pb2.IGNORE_ALWAYS else rules

    def embed(self, value: Any) -> Any:
        """The smallest value of the field that has this one in the slot."""
        if self.part is Part.ITEMS:
            return [value]
        if self.part is Part.KEYS:
            return {value: blank(map_entry(self.field).fields_by_name["value"])}
        if self.part is Part.VALUES:
            return {blank(map_entry(self.field).fields_by_name["key"]): value}
        return value

    def breaks(self, value: Any) -> list[Break]:
        """The rules of this slot that the value breaks."""
        message = GetMessageClass(self.field.containing_type)(**{self.field.name: self.embed(value)})
        return [found for found in breaks(message) if self._concerns(found)]

    def allows(self, value: Any) -> bool:
        """Whether the value keeps all rules of this slot."""
        return not self.breaks(value)

    def _concerns(self, found: Break) -> bool:
        if not found.path:
            return not found.option  # It could not be evaluated.
        name, subscript, _ = found.path[0].partition("[")
        return (
            len(found.path) == 1
            and name == self.field.name
            and bool(subscript) == (self.part is not Part.WHOLE)
            and found.of_key == (self.part is Part.KEYS)
        )


@cache
def field_rules(field: FieldDescriptor) -> Any:
    """The `buf.validate.FieldRules` of a field; none if they are to be ignored."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return _NO_RULES if rules.ignore == validate_pb2.IGNORE_ALWAYS else rules


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def map_entry(field: FieldDescriptor) -> Descriptor:
    """The type of a map field's entries, with the fields `key` and `value`."""
    return field.message_type


def blank(field: FieldDescriptor) -> Any:
    """The zero value of a single value of this type."""
    return GetMessageClass(field.message_type)() if field.message_type else field.default_value
