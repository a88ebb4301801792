"""Small changes of a message: where to look for one whose expressions hold, or don't."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, combinations
from typing import Any

from camino.testing.schema.domains import domain, is_single
from camino.testing.schema.slots import Slot
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_FEW = 8  # So many values of each field are tried.


def neighbours(message: Message, others: Sequence[Message], frozen: Collection[str]) -> Iterator[Message]:
    """The message with one field cleared or set, and with two. Values come from the other messages, from the fields of
    the same type, and from where the rules of the field begin and end to hold. What is frozen stays."""
    moves = [
        (field.name, part)
        for field in message.DESCRIPTOR.fields
        if field.name not in frozen
        for part in chain([None], _parts(message, field, others))
    ]
    for name, part in moves:
        yield _moved(message, (name, part))
    for first, second in combinations(moves, 2):
        if first[0] != second[0]:
            yield _moved(message, first, second)


def held(message: Message, name: str) -> Any:
    """A field's value, for a message's constructor."""
    value = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name[name]
    return value if not field.is_repeated else dict(value) if hasattr(value, "keys") else list(value)


def is_set(message: Message, field: FieldDescriptor) -> bool:
    """Whether it's there; without presence, whether it isn't its type's zero."""
    if field.has_presence:
        return bool(message.HasField(field.name))
    return any(each is field for each, _ in message.ListFields())


def _parts(message: Message, field: FieldDescriptor, others: Sequence[Message]) -> Iterator[Message]:
    """Messages with only this field set."""
    kind = type(message)
    for other in others:
        if is_set(other, field):
            yield kind(**{field.name: held(other, field.name)})
    if not field.is_repeated and is_single(field.message_type):
        for value in domain(Slot(field)).edges[:_FEW]:
            yield kind(**{field.name: value})
    for twin in message.DESCRIPTOR.fields:
        if twin is not field and _type(twin) == _type(field) and is_set(message, twin):
            yield kind(**{field.name: held(message, twin.name)})


def _type(field: FieldDescriptor) -> Any:
    return field.type, field.message_type, field.enum_type, field.is_repeated


def _moved(message: Message, *moves: tuple[str, Message | None]) -> Message:
    moved = type(message)()
    moved.CopyFrom(message)
    for name, part in moves:
        moved.ClearField(name)
        if part is not None:
            moved.MergeFrom(part)
    return moved
