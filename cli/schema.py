"""A request against the rules in its schema, by `buf.validate`: the same rules the services hold it to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.message import Message
from protovalidate import Validator

_FIXES = {
    "required": "add it",
    "string.pattern": "use what the pattern allows",
    "string.min_bytes": "write something",
    "string.max_bytes": "shorten it",
    "repeated.min_items": "add an item",
    "repeated.max_items": "remove some",
    "enum.not_in": "say which",
}
_NAME = "use lower-case letters, digits, - and _, and begin with a letter or digit"


class Violation(NamedTuple):
    path: str
    """In the names of the contract, from the request on."""
    message: str
    fix: str


class Schema:
    def __init__(self) -> None:
        self._validator = Validator()

    def violations(self, request: Message) -> Iterator[Violation]:
        for found in self._validator.collect_violations(request):
            elements = list(found.proto.field.elements) if found.proto.field else []
            rule = found.proto.rule_id
            if rule == "required" and elements and not elements[-1].field_number:
                members = ", ".join(_members(request, elements))
                yield Violation(
                    _path(elements[:-1]), f"lacks its {elements[-1].field_name}", f"give it one of {members}"
                )
                continue
            message = "is missing" if rule == "required" else found.proto.message
            yield Violation(_path(elements), message, _fix(rule, message))


def _fix(rule: str, message: str) -> str:
    if rule == "string.pattern" and "[a-z0-9][a-z0-9" in message:
        return _NAME
    return _FIXES.get(rule, "change it so that it holds")


def _members(request: Message, elements: list[Any]) -> list[str]:
    """The fields of the oneof that the path ends in."""
    descriptor = request.DESCRIPTOR
    for element in elements[:-1]:
        descriptor = descriptor.fields_by_name[element.field_name].message_type
        if descriptor.GetOptions().map_entry:
            descriptor = descriptor.fields_by_name["value"].message_type
    return [field.json_name for field in descriptor.oneofs_by_name[elements[-1].field_name].fields]


def _path(elements: list[Any]) -> str:
    parts = []
    for element in elements:
        subscript = element.subscript
        value = None if subscript is None else subscript.value
        quoted = f'"{value}"' if isinstance(value, str) else value
        parts.append(element.field_name + ("" if value is None else f"[{quoted}]"))
    return ".".join(parts)
