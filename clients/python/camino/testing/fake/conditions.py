"""Conditions of `camino.type.v1`: whether a test of an event's property holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from camino.testing.fake.values import Value, instant, value_of
from camino.type.v1 import condition_pb2


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
        low, high = bounds(test.number)
        return isinstance(value, float) and low <= value <= high
    start, end = span(test.time)
    return type(value) is int and start <= value < end


def _same(left: Value | None, right: Value) -> bool:
    # A truth value and an instant are both ints to Python; values of different types are never equal.
    return type(left) is type(right) and left == right


def bounds(numbers: condition_pb2.NumberRange) -> tuple[float, float]:
    """The least and the greatest number in a range."""
    low = numbers.at_least if numbers.HasField("at_least") else -math.inf
    high = numbers.at_most if numbers.HasField("at_most") else math.inf
    if numbers.HasField("above"):
        low = max(low, math.nextafter(numbers.above, math.inf))
    if numbers.HasField("below"):
        high = min(high, math.nextafter(numbers.below, -math.inf))
    return low, high


def span(times: condition_pb2.TimeRange) -> tuple[float, float]:
    """From the first instant in a range to the first that is no longer in it."""
    start = instant(times.at_or_after) if times.HasField("at_or_after") else -math.inf
    end = instant(times.before) if times.HasField("before") else math.inf
    return start, end
