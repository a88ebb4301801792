"""Requests against the rules of their schema (`buf.validate`), by protovalidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from camino.testing.fake.refusal import Violation
from google.protobuf.message import Message
from protovalidate import Validator


@dataclass(slots=True)
class Findings:
    """What is wrong with a request."""

    violations: list[Violation] = field(default_factory=list)
    items: dict[int, Violation] = field(default_factory=dict)
    """The first violation of each item that fails alone, by its index; the field is named from the item on."""


class Schema:
    """Holds requests to their schema."""

    def __init__(self) -> None:
        self._validator = Validator()

    def findings(self, request: Message, items_field: str) -> Findings:
        """Every field that breaks a rule. `items_field` is the one whose items fail alone, if the method has one."""
        found = Findings()
        for violation in self._validator.collect_violations(request):
            elements = list(violation.proto.field.elements) if violation.proto.field else []
            first = elements[0] if elements else None
            if items_field and first and first.field_name == items_field and first.subscript is not None:
                item = Violation(_path(elements[1:]), violation.proto.message)
                found.items.setdefault(int(first.subscript.value), item)
            else:
                found.violations.append(Violation(_path(elements), violation.proto.message))
        return found


def _path(elements: list[Any]) -> str:
    return ".".join(f"{element.field_name}{_subscript(element.subscript)}" for element in elements)


def _subscript(subscript: Any) -> str:
    if subscript is None:
        return ""
    return f"[{subscript.value!r}]".replace("'", '"')
