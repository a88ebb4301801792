"""Requests against the rules in their schema: `buf.validate`, by protovalidate."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from google.protobuf.message import Message
from protovalidate import Validator

from services.chassis.errors import InvalidArgument, Violation

_item_violations: ContextVar[Mapping[int, Violation]] = ContextVar("item_violations")


def item_violations() -> Mapping[int, Violation]:
    """The first violation of each item, by its index, of the request being served: of a method with the option
    `items_field`, whose items fail alone. Fields are named from the item on."""
    return _item_violations.get({})


class RequestValidator:
    """Holds requests to their schema."""

    def __init__(self) -> None:
        self._validator = Validator()

    def check(self, request: Message, items_field: str = "") -> None:
        """Raise `InvalidArgument` naming every field that breaks a rule; violations inside `items_field` are kept for
        `item_violations` instead."""
        violations: list[Violation] = []
        items: dict[int, Violation] = {}
        for found in self._validator.collect_violations(request):
            elements = list(found.proto.field.elements) if found.proto.field else []
            first = elements[0] if elements else None
            if items_field and first and first.field_name == items_field and first.subscript is not None:
                items.setdefault(int(first.subscript.value), Violation(_path(elements[1:]), found.proto.message))
            else:
                violations.append(Violation(_path(elements), found.proto.message))
        if violations:
            raise InvalidArgument("; ".join(f"{v.field}: {v.message}" for v in violations), violations=violations)
        _item_violations.set(items)


def _path(elements: list[Any]) -> str:
    parts = []
    for element in elements:
        subscript = element.subscript
        where = "" if subscript is None else f"[{subscript.value!r}]".replace("'", '"')
        parts.append(f"{element.field_name}{where}")
    return ".".join(parts)
