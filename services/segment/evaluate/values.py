"""Tests of values: of attributes, and of the properties of events."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from services.segment.domain import (
    NEVER,
    AttributeTest,
    Contains,
    Equals,
    Exists,
    Facts,
    In,
    NumberRange,
    StartsWith,
    Test,
    TimeRange,
    Value,
    kind_of,
)
from services.segment.evaluate.answers import FALSE, TRUE, UNKNOWN, Answer, Compiled


def attribute(condition: AttributeTest) -> Compiled:
    name = condition.name
    passes = passing(condition.test)
    missing = UNKNOWN
    if isinstance(condition.test, Exists):
        missing = FALSE if condition.test.present else TRUE

    def node(facts: Facts, now: int) -> Answer:
        value = facts.attributes.get(name)
        if value is None:
            return missing
        return TRUE if passes(value) else FALSE

    return node


def passing(test: Test) -> Callable[[Value], bool]:
    """A test of a value that is there."""
    if isinstance(test, Equals):
        return _among((test.value,))
    if isinstance(test, In):
        return _among(test.values)
    if isinstance(test, Contains):
        wanted = test.text
        return lambda value: isinstance(value, str | list | tuple) and wanted in value
    if isinstance(test, StartsWith):
        prefix = test.text
        return lambda value: isinstance(value, str) and value.startswith(prefix)
    if isinstance(test, Exists):
        present = test.present
        return lambda value: present
    if isinstance(test, NumberRange):
        low, high = test.low, test.high
        return lambda value: isinstance(value, float) and low <= value <= high
    start, end = span(test)
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and start <= value < end


def span(times: TimeRange) -> tuple[int, int]:
    """From the first instant in a range to the first after it."""
    start = -NEVER if times.at_or_after is None else times.at_or_after
    return start, NEVER if times.before is None else times.before


def value_of(test: AttributeTest) -> Callable[[Mapping[str, Value]], bool | None]:
    """What a test says of properties: unknown when the property is missing."""
    name, passes = test.name, passing(test.test)
    missing = None if not isinstance(test.test, Exists) else not test.test.present

    def verdict(properties: Mapping[str, Value]) -> bool | None:
        value = properties.get(name)
        return missing if value is None else passes(value)

    return verdict


def satisfying(tests: Sequence[AttributeTest]) -> Callable[[Mapping[str, Value]], bool] | None:
    """Whether an event's properties satisfy all tests: unknown doesn't satisfy. None when there is nothing to test."""
    if not tests:
        return None
    checks = tuple((test.name, passing(test.test), test.test == Exists(False)) for test in tests)

    def satisfied(properties: Mapping[str, Value]) -> bool:
        for name, passes, if_missing in checks:
            value = properties.get(name)
            if not (if_missing if value is None else passes(value)):
                return False
        return True

    return satisfied


def _among(values: Sequence[Value]) -> Callable[[Value], bool]:
    if all(isinstance(value, str) for value in values):
        texts = frozenset(values)
        return lambda value: isinstance(value, str) and value in texts
    wanted = frozenset(map(_key, values))
    return lambda value: _key(value) in wanted


def _key(value: Value) -> Hashable:
    return kind_of(value), tuple(value) if isinstance(value, list) else value
