"""Conditions of `camino.type.v1`: whether a test of an event's property holds, and what is wrong with one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from camino.testing.fake.refusal import Violation
from camino.testing.fake.values import Value, instant, value_of
from camino.type.v1 import condition_pb2
from google.protobuf.message import Message

_MAX_DEPTH = 32
_MAX_CONDITIONS = 1_000


def holds(test: condition_pb2.AttributeCondition, values: Mapping[str, Value]) -> bool:
    """Whether the named value is there and satisfies the test."""
    kind, value = test.WhichOneof("test"), values.get(test.name)
    if kind == "exists":
        return (value is not None) is test.exists
    if kind == "equals":
        return _same(value, value_of(test.equals))
    if kind == "in":
        return any(_same(value, value_of(option)) for option in getattr(test, "in").values)
    if kind == "contains":
        return isinstance(value, str | tuple) and test.contains in value
    if kind == "starts_with":
        return isinstance(value, str) and value.startswith(test.starts_with)
    if kind == "number":
        low, high = _bounds(test.number)
        return isinstance(value, float) and low <= value <= high
    start, end = _span(test.time)
    return type(value) is int and start <= value < end


def _same(left: Value | None, right: Value) -> bool:
    # A truth value and an instant are both ints to Python; values of different types are never equal.
    return type(left) is type(right) and left == right


def violations(message: Message, path: str) -> Iterator[Violation]:
    """What can't be right together in the conditions that a message holds; the schema sees to each field by itself."""
    conditions = 0
    for where, found, depth in _inside(message, path, 0):
        if isinstance(found, condition_pb2.Condition):
            conditions += 1
            if depth == _MAX_DEPTH + 1:
                yield Violation(where, f"is nested deeper than {_MAX_DEPTH} conditions")
        elif isinstance(found, condition_pb2.NumberRange):
            low, high = _bounds(found)
            if low > high:
                yield Violation(where, "no number is in this range: its lower bound is above its upper one")
            elif where.endswith(".event.count") and (least := max(0.0, low)) < math.inf and math.ceil(least) > high:
                yield Violation(where, "no number of events is in this range")
        elif isinstance(found, condition_pb2.TimeRange):
            start, end = _span(found)
            if start >= end:
                yield Violation(where, "no instant is in this range: at_or_after must be earlier than before")
        elif isinstance(found, condition_pb2.Window) and found.HasField("within") and instant(found.within) <= 0:
            yield Violation(f"{where}.within", "must be at least a microsecond")
    if conditions > _MAX_CONDITIONS:
        yield Violation(path, f"has {conditions} conditions; at most {_MAX_CONDITIONS} are allowed")


def _inside(message: Message, path: str, depth: int) -> Iterator[tuple[str, Message, int]]:
    """A message and all inside it, each with its path and how many conditions it's deep."""
    depth += isinstance(message, condition_pb2.Condition)
    yield path, message, depth
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for suffix, item in ((f"[{n}]", item) for n, item in enumerate(value)) if field.is_repeated else [("", value)]:
            yield from _inside(item, f"{path}.{field.name}{suffix}", depth)


def _bounds(numbers: condition_pb2.NumberRange) -> tuple[float, float]:
    """The least and the greatest number in a range."""
    low = numbers.at_least if numbers.HasField("at_least") else -math.inf
    high = numbers.at_most if numbers.HasField("at_most") else math.inf
    if numbers.HasField("above"):
        low = max(low, math.nextafter(numbers.above, math.inf))
    if numbers.HasField("below"):
        high = min(high, math.nextafter(numbers.below, -math.inf))
    return low, high


def _span(times: condition_pb2.TimeRange) -> tuple[float, float]:
    """From the first instant in a range to the first that is no longer in it."""
    start = instant(times.at_or_after) if times.HasField("at_or_after") else -math.inf
    end = instant(times.before) if times.HasField("before") else math.inf
    return start, end
