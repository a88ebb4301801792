"""What can be said of any reply by its shape: the resource in it, what moves in it by itself, what it tells of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

from google.protobuf.message import Message

_OK, _DUPLICATE = 1, 2
_MOVING = ("member_count", "computed_count", "profile_count", "deleted_documents", "deleted_facts")
"""Numbers that change without anybody's call."""
_COMING = ("state", "receipts", "end_time", "expire_time", "obstacle")
"""What changes in an operation by itself."""
_COMPUTED = ("state", "serving_version", "members_complete")
"""What changes by itself in what is being computed, until it's ready."""
_ONCE = ("secret",)
"""What is told by the one reply that is the first."""


def resource(reply: Message) -> Any:
    """The one message that a reply is about, or None."""
    found = [value for field, value in reply.ListFields() if field.message_type and not field.is_repeated]
    return found[0] if len(found) == 1 else None


def alike(reply: Message) -> Message:
    """A reply without what moves by itself or is told once, in which what was taken and what was taken before are the
    same."""
    copy = type(reply)()
    copy.CopyFrom(reply)
    _still(copy)
    for result in getattr(copy, "results", ()):
        if result.outcome == _DUPLICATE:
            result.outcome = _OK
    return copy


def told(reply: Message, path: str) -> object:
    """What a reply says in the field at a path; an enum's value by its name."""
    *parents, last = path.split(".")
    parent: Any = reduce(getattr, parents, reply)
    value, field = getattr(parent, last), parent.DESCRIPTOR.fields_by_name[last]
    return field.enum_type.values_by_number[value].name if field.enum_type else value


def says(whole: Any, part: Any) -> bool:
    """Whether a field's value says all that another one does, and in its lists perhaps more."""
    if isinstance(part, Message):
        return all(says(getattr(whole, field.name), value) for field, value in part.ListFields())
    if isinstance(part, Sequence) and not isinstance(part, str | bytes):
        return all(any(says(other, item) for other in whole) for item in part)
    return bool(whole == part)


def texts(message: Message) -> Iterator[str]:
    """Every text in a message."""
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            yield from value
            value = list(value.values())
        for item in value if field.is_repeated else [value]:
            if isinstance(item, Message):
                yield from texts(item)
            elif isinstance(item, str):
                yield item


def _still(message: Any) -> None:
    names = set(message.DESCRIPTOR.fields_by_name)
    for name in (*_MOVING, *_ONCE):
        if name in names:
            message.ClearField(name)
    if "computed_count" in names:
        for name in _COMPUTED:
            message.ClearField(name)
    if "receipts" in names:
        for name in _COMING:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else [value]:
                _still(item)
