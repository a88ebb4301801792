"""What can't be right together in conditions of `camino.type.v1`; the schema sees to each field by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from camino.testing.fake.conditions import bounds, span
from camino.testing.fake.refusal import Violation
from camino.testing.fake.values import instant
from camino.type.v1 import condition_pb2
from google.protobuf.message import Message

_MAX_DEPTH = 32
_MAX_CONDITIONS = 1_000
_MAX_DAYS_TO_ANNIVERSARY = 365
_RESERVED = "camino."
_TOLD = ("sent", "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "failed")


def violations(message: Message, path: str) -> Iterator[Violation]:
    """Everything that is wrong with the conditions that a message holds."""
    conditions = 0
    for where, found, depth in inside(message, path):
        if isinstance(found, condition_pb2.Condition):
            conditions += 1
            if depth == _MAX_DEPTH + 1:
                yield Violation(where, f"is nested deeper than {_MAX_DEPTH} conditions")
        else:
            yield from _faults(where, found)
    if conditions > _MAX_CONDITIONS:
        yield Violation(path, f"has {conditions} conditions; at most {_MAX_CONDITIONS} are allowed")


def inside(message: Message, path: str, depth: int = 0) -> Iterator[tuple[str, Message, int]]:
    """A message and all inside it, each with its path and how many conditions it's deep."""
    depth += isinstance(message, condition_pb2.Condition)
    yield path, message, depth
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for suffix, item in ((f"[{n}]", item) for n, item in enumerate(value)) if field.is_repeated else [("", value)]:
            yield from inside(item, f"{path}.{field.name}{suffix}", depth)


def _faults(where: str, found: Message) -> Iterator[Violation]:
    if isinstance(found, condition_pb2.NumberRange):
        low, high = bounds(found)
        if low > high:
            yield Violation(where, "no number is in this range: its lower bound is above its upper one")
        elif where.endswith(".event.count") and (least := max(0.0, low)) < math.inf and math.ceil(least) > high:
            yield Violation(where, "no number of events is in this range")
    elif isinstance(found, condition_pb2.TimeRange):
        start, end = span(found)
        if start >= end:
            yield Violation(where, "no instant is in this range: at_or_after must be earlier than before")
    elif isinstance(found, condition_pb2.DayRange):
        yield from _days(where, found)
    elif isinstance(found, condition_pb2.AgeRange):
        if found.HasField("below") and instant(found.below) <= instant(found.at_least):
            yield Violation(where, "no age is in this range: at_least must be less than below")
    elif isinstance(found, condition_pb2.DateCondition) and found.time_zone and not _is_zone(found.time_zone):
        yield Violation(f"{where}.time_zone", "is no time zone; give one such as Europe/Madrid")
    if isinstance(found, condition_pb2.Window | condition_pb2.SequenceCondition):
        yield from _within(where, found)
    if isinstance(found, condition_pb2.EventCondition | condition_pb2.SequenceStep):
        told = [f"{_RESERVED}message.{became}" for became in _TOLD]
        if found.event_type.startswith(_RESERVED) and found.event_type not in told:
            yield Violation(f"{where}.event_type", f"no event has this type; there are {', '.join(told)}")


def _within(where: str, found: condition_pb2.Window | condition_pb2.SequenceCondition) -> Iterator[Violation]:
    if found.HasField("within") and instant(found.within) <= 0:
        yield Violation(f"{where}.within", "must be at least a microsecond")


def _days(where: str, days: condition_pb2.DayRange) -> Iterator[Violation]:
    low = days.at_least if days.HasField("at_least") else -math.inf
    high = days.at_most if days.HasField("at_most") else math.inf
    if low > high:
        yield Violation(where, "no number of days is in this range: at_least is above at_most")
    if where.endswith(".anniversary_in_days") and (high < 0 or low > _MAX_DAYS_TO_ANNIVERSARY):
        yield Violation(where, f"the next anniversary is in 0 to {_MAX_DAYS_TO_ANNIVERSARY} days")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return name != "localtime"
