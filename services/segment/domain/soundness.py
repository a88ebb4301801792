"""What can't be right in a condition. Pure.

The schema has checked each field by itself; this is about what can't be right together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from services.chassis.errors import Violation
from services.segment.domain.calendar import zone
from services.segment.domain.conditions import (
    MESSAGE_EVENTS,
    RESERVED,
    Age,
    All,
    AnniversaryInDays,
    Any,
    AttributeTest,
    Condition,
    ConsentTest,
    Count,
    DateTest,
    DayRange,
    EventAggregate,
    First,
    InSegment,
    Last,
    Not,
    Sequence,
    Window,
    Within,
    inside,
)
from services.segment.domain.values import In, NumberRange, TimeRange

MAX_DEPTH = 32
MAX_NODES = 1_000
MAX_BYTES = 256 * 1024
"""Of a definition on the wire."""

_FARTHEST_ANNIVERSARY = 365


def violations(condition: Condition, path: str) -> Iterator[Violation]:
    """Everything that is wrong with a condition that stands at `path`, in the order of reading."""
    nodes = 0
    for node, where, depth in inside(condition, path):
        nodes += 1
        if depth == MAX_DEPTH + 1:
            yield Violation(where, f"is nested deeper than {MAX_DEPTH} conditions")
        if depth <= MAX_DEPTH:
            yield from _node(node, where)
    if nodes > MAX_NODES:
        yield Violation(path, f"has {nodes} conditions; at most {MAX_NODES} are allowed")


def _node(node: Condition, path: str) -> Iterator[Violation]:
    if isinstance(node, All | Any):
        if not node.conditions:
            kind = "all" if isinstance(node, All) else "any"
            yield Violation(f"{path}.{kind}.conditions", "has no condition; give at least one")
    elif isinstance(node, AttributeTest):
        yield from _attribute(node, f"{path}.attribute")
    elif isinstance(node, DateTest):
        yield from _date(node, f"{path}.date")
    elif isinstance(node, EventAggregate):
        yield from _event(node, f"{path}.event")
    elif isinstance(node, Sequence):
        yield from _sequence(node, f"{path}.sequence")
    else:
        # Whether another segment may be asked of is for all of a workspace's together to say.
        assert isinstance(node, Not | ConsentTest | InSegment)


def _attribute(node: AttributeTest, path: str) -> Iterator[Violation]:
    if isinstance(node.test, NumberRange):
        yield from _numbers(node.test, f"{path}.number")
    elif isinstance(node.test, TimeRange):
        yield from _times(node.test, f"{path}.time")
    elif isinstance(node.test, In) and not node.test.values:
        yield Violation(f"{path}.in.values", "has no value; give at least one")


def _date(node: DateTest, path: str) -> Iterator[Violation]:
    if node.time_zone and zone(node.time_zone) is None:
        yield Violation(f"{path}.time_zone", "is no time zone; give one such as Europe/Madrid")
    if isinstance(node.test, AnniversaryInDays):
        where, days = f"{path}.anniversary_in_days", node.test.days
        yield from _days(days, where)
        if days.at_most is not None and days.at_most < 0:
            yield Violation(where, "no number of days is in this range: the next anniversary is today or later")
        elif days.at_least is not None and days.at_least > _FARTHEST_ANNIVERSARY:
            yield Violation(
                where,
                f"no number of days is in this range: the next anniversary is within {_FARTHEST_ANNIVERSARY}",
            )
    else:
        yield from _days(node.test.days, f"{path}.in_days")


def _days(days: DayRange, path: str) -> Iterator[Violation]:
    if days == DayRange():
        yield Violation(path, "has no bound; set at_least or at_most")
    elif days.at_least is not None and days.at_most is not None and days.at_least > days.at_most:
        yield Violation(path, "no number of days is in this range: at_least is above at_most")


def _event(node: EventAggregate, path: str) -> Iterator[Violation]:
    yield from _event_type(node.event_type, f"{path}.event_type")
    for index, test in enumerate(node.where):
        yield from _attribute(test, f"{path}.where[{index}]")
    yield from _window(node.window, f"{path}.window")
    aggregate = node.aggregate
    where = f"{path}.{type(aggregate).__name__.lower()}"
    if isinstance(aggregate, First | Last):
        if isinstance(aggregate.test, AttributeTest):
            yield from _attribute(aggregate.test, f"{where}.property")
        elif isinstance(aggregate.test, TimeRange):
            yield from _times(aggregate.test, f"{where}.occurred_at")
        else:
            yield from _age(aggregate.test, f"{where}.age")
    elif isinstance(aggregate, Count):
        numbers = aggregate.range
        yield from _numbers(numbers, where)
        least = max(0.0, numbers.low)
        if numbers.low <= numbers.high and least < math.inf and math.ceil(least) > numbers.high:
            yield Violation(where, "no number of events is in this range")
    else:
        if not aggregate.property:
            yield Violation(f"{where}.property", "names no property")
        yield from _numbers(aggregate.range, f"{where}.range")


def _sequence(node: Sequence, path: str) -> Iterator[Violation]:
    if node.within is not None and node.within <= 0:
        yield Violation(f"{path}.within", "must be at least a microsecond")
    for index, step in enumerate(node.steps):
        where = f"{path}.steps[{index}]"
        yield from _event_type(step.event_type, f"{where}.event_type")
        for number, test in enumerate(step.where):
            yield from _attribute(test, f"{where}.where[{number}]")
    if len(node.steps) < 2:
        yield Violation(f"{path}.steps", "are too few to follow each other; give at least two")
    yield from _window(node.window, f"{path}.window")


def _event_type(name: str, path: str) -> Iterator[Violation]:
    if name.startswith(RESERVED) and name not in MESSAGE_EVENTS:
        yield Violation(path, f"no event has this type: of those that begin with {RESERVED} there are {_TYPES}")


_TYPES = ", ".join(sorted(MESSAGE_EVENTS))


def _window(window: Window, path: str) -> Iterator[Violation]:
    if isinstance(window, Within):
        if window.micros <= 0:
            yield Violation(f"{path}.within", "must be at least a microsecond")
    elif window is not None:
        yield from _times(window, f"{path}.between")


def _age(age: Age, path: str) -> Iterator[Violation]:
    if age == Age():
        yield Violation(path, "has no bound; set at_least or below")
    elif age.below is not None and age.below <= max(age.at_least or 0, 0):
        yield Violation(path, "no age is in this range: at_least must be less than below")


def _numbers(numbers: NumberRange, path: str) -> Iterator[Violation]:
    if numbers == NumberRange():
        yield Violation(path, "has no bound; set at_least, above, at_most or below")
    elif numbers.low > numbers.high:
        yield Violation(path, "no number is in this range: its lower bound is above its upper one")


def _times(times: TimeRange, path: str) -> Iterator[Violation]:
    if times == TimeRange():
        yield Violation(path, "has no bound; set at_or_after or before")
    elif times.at_or_after is not None and times.before is not None and times.at_or_after >= times.before:
        yield Violation(path, "no instant is in this range: at_or_after must be earlier than before")
