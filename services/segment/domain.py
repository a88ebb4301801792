"""The rule language as values, and what makes a definition sound. Pure.

A condition is a frozen tree that mirrors `camino.type.v1.Condition`; `evaluate` says what it means.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from services.chassis.errors import Violation

Value = str | float | bool | int | list[str] | tuple[str, ...]
"""A value of an attribute or property: text, a number (always float), a truth value, an instant (int, microseconds),
or a list of strings (a list in facts, a tuple in a condition)."""

MAX_DEPTH = 32
MAX_NODES = 1_000
MAX_BYTES = 256 * 1024
"""Of a definition on the wire."""


# --- conditions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A bound that is None is open."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    @property
    def low(self) -> float:
        """The least number in it: -inf when it's open below."""
        above = -math.inf if self.above is None else math.nextafter(self.above, math.inf)
        return above if self.at_least is None else max(above, self.at_least)

    @property
    def high(self) -> float:
        """The greatest number in it: inf when it's open above."""
        below = math.inf if self.below is None else math.nextafter(self.below, -math.inf)
        return below if self.at_most is None else min(below, self.at_most)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """at_or_after <= instant < before; a bound that is None is open."""

    at_or_after: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Equals:
    """Same type and same value."""

    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """Equal to one of these."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """Text that holds this substring, or a list that holds this item."""

    text: str


@dataclass(frozen=True, slots=True)
class StartsWith:
    text: str


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether there is a value: the one test that a missing value doesn't leave unknown."""

    present: bool


Test = Equals | In | Contains | StartsWith | Exists | NumberRange | TimeRange
"""What a value is held to. A value of a type that the test isn't about fails it: it's present, so it isn't unknown."""


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """A test of one attribute of a profile or one property of an event."""

    name: str
    test: Test


@dataclass(frozen=True, slots=True)
class Within:
    """The last so many microseconds: now - micros < occurred_at <= now."""

    micros: int


Window = Within | TimeRange | None
"""None is ever."""


@dataclass(frozen=True, slots=True)
class Count:
    """The number of events."""

    range: NumberRange


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of a numeric property; an event without it adds nothing."""

    property: str
    range: NumberRange


@dataclass(frozen=True, slots=True)
class EventAggregate:
    """A test of an aggregate over the events of one type that satisfy all of `where` and lie in the window."""

    event_type: str
    aggregate: Count | Sum
    where: tuple[AttributeTest, ...] = ()
    window: Window = None


@dataclass(frozen=True, slots=True)
class All:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


Condition = All | Any | Not | AttributeTest | EventAggregate


@dataclass(frozen=True, slots=True)
class Definition:
    """What a segment is. `missing` is what an unknown condition means for membership."""

    condition: Condition
    missing: bool = False
    display_name: str = ""


# --- facts ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class History:
    """A profile's events of one type, in the order of (occurred_at, event_id): three columns of one table."""

    at: list[int]
    ids: list[str]
    properties: list[dict[str, Value]]


@dataclass(slots=True)
class Facts:
    """What is known of one profile: attributes by name, events by type."""

    attributes: dict[str, Value]
    events: dict[str, History]


Kind = Literal["text", "number", "truth", "instant", "list"]


def kind_of(value: Value) -> Kind:
    """A value's type. Asked in this order, because a truth value is an int to Python."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, float):
        return "number"
    return "instant" if isinstance(value, int) else "list"


# --- soundness --------------------------------------------------------------------------------------------------------


def violations(condition: Condition, path: str) -> Iterator[Violation]:
    """Everything that is wrong with a condition that stands at `path`, in the order of reading.

    The schema has checked each field by itself; this is about what can't be right together.
    """
    nodes = 0
    pending: list[tuple[Condition, str, int]] = [(condition, path, 1)]
    while pending:
        node, where, depth = pending.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            yield Violation(where, f"is nested deeper than {MAX_DEPTH} conditions")
            continue
        if isinstance(node, All | Any):
            kind = "all" if isinstance(node, All) else "any"
            if not node.conditions:
                yield Violation(f"{where}.{kind}.conditions", "has no condition; give at least one")
            children = [
                (child, f"{where}.{kind}.conditions[{index}]", depth + 1) for index, child in enumerate(node.conditions)
            ]
            pending.extend(reversed(children))
        elif isinstance(node, Not):
            pending.append((node.condition, f"{where}.not", depth + 1))
        elif isinstance(node, AttributeTest):
            yield from _attribute(node, f"{where}.attribute")
        else:
            yield from _event(node, f"{where}.event")
    if nodes > MAX_NODES:
        yield Violation(path, f"has {nodes} conditions; at most {MAX_NODES} are allowed")


def _attribute(node: AttributeTest, path: str) -> Iterator[Violation]:
    if isinstance(node.test, NumberRange):
        yield from _numbers(node.test, f"{path}.number")
    elif isinstance(node.test, TimeRange):
        yield from _times(node.test, f"{path}.time")
    elif isinstance(node.test, In) and not node.test.values:
        yield Violation(f"{path}.in.values", "has no value; give at least one")


def _event(node: EventAggregate, path: str) -> Iterator[Violation]:
    for index, test in enumerate(node.where):
        yield from _attribute(test, f"{path}.where[{index}]")
    if isinstance(node.window, Within):
        if node.window.micros <= 0:
            yield Violation(f"{path}.window.within", "must be at least a microsecond")
    elif node.window is not None:
        yield from _times(node.window, f"{path}.window.between")
    if isinstance(node.aggregate, Sum):
        if not node.aggregate.property:
            yield Violation(f"{path}.sum.property", "names no property")
        yield from _numbers(node.aggregate.range, f"{path}.sum.range")
        return
    numbers = node.aggregate.range
    yield from _numbers(numbers, f"{path}.count")
    least = max(0.0, numbers.low)
    if numbers.low <= numbers.high and least < math.inf and math.ceil(least) > numbers.high:
        yield Violation(f"{path}.count", "no number of events is in this range")


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
