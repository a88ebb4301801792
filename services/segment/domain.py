"""A segment's rule as a typed tree, and what is known of a profile. Pure; instants and durations are microseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Value = str | float | bool | int | list[str]
"""Text, a number (always float), a truth value, an instant (int), or a list of strings."""


@dataclass(frozen=True, slots=True)
class All:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Equals:
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    part: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    prefix: str


@dataclass(frozen=True, slots=True)
class Exists:
    wanted: bool


@dataclass(frozen=True, slots=True)
class NumberRange:
    """at_least <= value <= at_most and above < value < below."""

    at_least: float = float("-inf")
    above: float = float("-inf")
    at_most: float = float("inf")
    below: float = float("inf")

    def holds(self, value: float) -> bool:
        return (
            self.at_least <= value <= self.at_most
            and (value > self.above or self.above == float("-inf"))
            and (value < self.below or self.below == float("inf"))
        )

    def empty(self) -> bool:
        """Whether no number is in it."""
        low, high = max(self.at_least, self.above), min(self.at_most, self.below)
        return low > high or (low == high and not self.holds(low))


@dataclass(frozen=True, slots=True)
class TimeRange:
    """start <= instant < end."""

    start: int
    end: int

    def holds(self, at: int) -> bool:
        return self.start <= at < self.end


Test = Equals | In | Contains | StartsWith | Exists | NumberRange | TimeRange


@dataclass(frozen=True, slots=True)
class Attribute:
    """A test of one attribute, or of one property of an event."""

    name: str
    test: Test


@dataclass(frozen=True, slots=True)
class Ever:
    pass


@dataclass(frozen=True, slots=True)
class Within:
    """now - duration < occurred_at <= now."""

    duration: int


@dataclass(frozen=True, slots=True)
class Between:
    range: TimeRange


@dataclass(frozen=True, slots=True)
class Events:
    """A test of how many events of a type there are, or, if `sum_of` isn't empty, of the sum of a property of them."""

    event_type: str
    where: tuple[Attribute, ...]
    window: Ever | Within | Between
    sum_of: str
    range: NumberRange


Condition = All | Any_ | Not | Attribute | Events


@dataclass(frozen=True, slots=True)
class Definition:
    """What a segment means. `missing` is the membership when the condition is unknown."""

    condition: Condition
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one profile: attributes by name, events by type in any order."""

    attributes: Mapping[str, Any]
    events: Mapping[str, list[list[Any]]]
    """By type, lists of [occurred_at, event_id, properties], as they're kept."""


def nodes(condition: Condition) -> Iterator[Condition]:
    """The condition and all below it."""
    yield condition
    if isinstance(condition, (All, Any_)):
        for inner in condition.conditions:
            yield from nodes(inner)
    elif isinstance(condition, Not):
        yield from nodes(condition.condition)


def dependencies(condition: Condition) -> tuple[frozenset[str], frozenset[str]]:
    """The attributes and the event types that the condition looks at."""
    attributes, event_types = set(), set()
    for node in nodes(condition):
        if isinstance(node, Attribute):
            attributes.add(node.name)
        elif isinstance(node, Events):
            event_types.add(node.event_type)
    return frozenset(attributes), frozenset(event_types)
