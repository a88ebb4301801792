"""Messages put together field by field, some of them forced, so that they keep the rules about structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from camino.testing.schema.domains import domain
from camino.testing.schema.judge import breaks
from camino.testing.schema.moves import neighbours
from camino.testing.schema.shapes import Choice, height, is_mandatory, is_recursive, may_be_left_out, nested, shape
from camino.testing.schema.slots import Part, Slot, field_rules, is_map
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


class Absent(Enum):
    """What is forced on a field that must not be set."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
Forced = Mapping[str, Any]
"""By field, the value that it must have, or `ABSENT`."""


class Decisions(Protocol):
    """What is left open by the rules and by what is forced."""

    def includes(self, field: FieldDescriptor) -> bool:
        """Whether to set a field that may be left unset."""

    def chooses(self, members: Sequence[FieldDescriptor], required: bool) -> FieldDescriptor | None:
        """Which one to set of fields that exclude each other, if any. There's at least one if one is required."""

    def fills(self, field: FieldDescriptor, levels: int) -> Any:
        """A valid value; `levels` is how many messages of recursive types may lie in each other inside it."""

    def examples(self, kind: Descriptor, levels: int) -> Sequence[Message]:
        """Messages of this type to take fields from, should its expressions not hold."""


def assemble(kind: Descriptor, levels: int, decisions: Decisions, forced: Forced, breaking: int = 0) -> Message:
    """A message that breaks no rule but what is forced breaks: `breaking` rules, 0 or 1. It may still break expressions
    if no small change makes them hold."""
    message = compose(kind, levels, decisions, forced)
    if not shape(kind).expressions or len(breaks(message)) == breaking:
        return message
    others = neighbours(message, decisions.examples(kind, levels), frozenset(forced))
    return next((other for other in others if len(breaks(other)) == breaking), message)


def compose(kind: Descriptor, levels: int, decisions: Decisions, forced: Forced) -> Message:
    """As `assemble`, whether or not the expressions of this type hold."""
    inside = levels - is_recursive(kind)
    values = {name: value for name, value in forced.items() if value is not ABSENT}
    for field in shape(kind).others:
        if field.name not in forced and _is_set(field, inside, decisions):
            values[field.name] = decisions.fills(field, inside)
    for choice in shape(kind).choices:
        if chosen := _chosen(choice, inside, decisions, forced):
            values[chosen.name] = decisions.fills(chosen, inside)
    return GetMessageClass(kind)(**values)


def assemble_along(
    route: Sequence[FieldDescriptor], kind: Descriptor, levels: int, decisions: Decisions, fixed: Forced, forced: Forced
) -> Message:
    """As `assemble`, with what is forced on the message that the route leads to, and breaks one rule there. What is
    `fixed` is forced on the outermost message unless it's that one's and forced otherwise."""
    if not route:
        return assemble(kind, levels, decisions, {**fixed, **forced}, breaking=1)
    field, *rest = route
    inner, inside = nested(field), levels - is_recursive(kind)
    assert inner is not None, f"{field.full_name} holds no messages"
    child = assemble_along(rest, inner, max(inside, height(inner)), decisions, {}, forced)
    others = decisions.fills(field, inside) if field.is_repeated and _fits(field, inside) else ()
    return assemble(kind, levels, decisions, {**fixed, field.name: _first(field, child, others)}, breaking=1)


def _first(field: FieldDescriptor, child: Message, others: Any) -> Any:
    """A value of the field with the child in the first one's place."""
    if is_map(field):
        key = domain(Slot(field, Part.KEYS)).telling
        rest = [other for other in others if other != key]
        return {key: child} | {other: others[other] for other in rest[: max(len(others) - 1, 0)]}
    return [child, *others[1:]] if field.is_repeated else child


def _is_set(field: FieldDescriptor, inside: int, decisions: Decisions) -> bool:
    if is_mandatory(field):
        return True
    return _fits(field, inside) and (not may_be_left_out(field) or decisions.includes(field))


def _fits(field: FieldDescriptor, inside: int) -> bool:
    inner = nested(field)
    return inner is None or height(inner) <= inside


def _chosen(choice: Choice, inside: int, decisions: Decisions, forced: Forced) -> FieldDescriptor | None:
    if any(forced.get(field.name, ABSENT) is not ABSENT for field in choice.members):
        return None
    members = [field for field in choice.members if field.name not in forced]
    needed = [field for field in members if field_rules(field).required]
    open_ = [field for field in needed or members if _fits(field, inside)]
    return decisions.chooses(open_, choice.required or bool(needed)) if open_ else None
