"""The rule language as values: a frozen tree that mirrors `camino.type.v1.Condition`. `evaluate` says what it means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from services.segment.domain.values import NumberRange, Test, TimeRange

Channel = Literal["email", "sms", "push", "webhook"]
Standing = Literal["opted in", "opted out", "unknown"]

MESSAGE_EVENTS = frozenset(
    f"camino.message.{became}"
    for became in ("sent", "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "failed")
)
"""The types of the events that tell what becomes of messages. Other types that begin as these do aren't told at all."""
RESERVED = "camino."


# --- attributes and dates ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """A test of one attribute of a profile or one property of an event."""

    name: str
    test: Test


@dataclass(frozen=True, slots=True)
class DayRange:
    """A number of days; a bound that is None is open."""

    at_least: int | None = None
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class InDays:
    """Days from today to a date: 0 is today, 1 tomorrow, -1 yesterday."""

    days: DayRange


@dataclass(frozen=True, slots=True)
class AnniversaryInDays:
    """Days from today to the next day with a date's month and day, whatever its year: 0 is today."""

    days: DayRange


@dataclass(frozen=True, slots=True)
class DateTest:
    """A test of an attribute's date against today, in the profile's zone, or in this one where that isn't known."""

    attribute: str
    test: InDays | AnniversaryInDays
    time_zone: str = ""
    """UTC when empty."""


# --- events -----------------------------------------------------------------------------------------------------------


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
class Min:
    """The least of a numeric property."""

    property: str
    range: NumberRange


@dataclass(frozen=True, slots=True)
class Max:
    """The greatest of a numeric property."""

    property: str
    range: NumberRange


@dataclass(frozen=True, slots=True)
class Average:
    """The mean of a numeric property, over the events that have it, rounded once."""

    property: str
    range: NumberRange


@dataclass(frozen=True, slots=True)
class Age:
    """So many microseconds ago: at_least <= now - occurred_at < below; a bound that is None is open."""

    at_least: int | None = None
    below: int | None = None


@dataclass(frozen=True, slots=True)
class First:
    """A test of the earliest event: of a property, of when it happened, of how long ago that is."""

    test: AttributeTest | TimeRange | Age


@dataclass(frozen=True, slots=True)
class Last:
    """The same of the latest event."""

    test: AttributeTest | TimeRange | Age


Aggregate = Count | Sum | Min | Max | Average | First | Last


@dataclass(frozen=True, slots=True)
class EventAggregate:
    """A test of an aggregate over the events of one type that satisfy all of `where` and lie in the window."""

    event_type: str
    aggregate: Aggregate
    where: tuple[AttributeTest, ...] = ()
    window: Window = None


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a sequence: of a type, satisfying all of `where`."""

    event_type: str
    where: tuple[AttributeTest, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """One event for each step, each later than the one before, the last less than `within` microseconds after the
    first."""

    steps: tuple[Step, ...]
    within: int | None = None
    window: Window = None
    from_first: bool = False
    """Whether only the earliest event of the first step may begin it."""


# --- consents and segments --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConsentTest:
    channel: Channel
    topic: str
    standing: Standing

    @property
    def key(self) -> str:
        """What facts know the consent by."""
        return consent_key(self.channel, self.topic)


@dataclass(frozen=True, slots=True)
class InSegment:
    """Membership of another segment."""

    segment_id: str


def consent_key(channel: Channel, topic: str) -> str:
    return f"{channel}/{topic}"


# --- logic ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class All:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


Condition = All | Any | Not | AttributeTest | DateTest | EventAggregate | Sequence | ConsentTest | InSegment


@dataclass(frozen=True, slots=True)
class Definition:
    """What a segment is. `missing` is what an unknown condition means for membership."""

    condition: Condition
    missing: bool = False
    display_name: str = ""


def children(node: Condition) -> Iterator[tuple[Condition, str]]:
    """The conditions right inside one, each with its path from there."""
    if isinstance(node, All | Any):
        kind = "all" if isinstance(node, All) else "any"
        for index, child in enumerate(node.conditions):
            yield child, f"{kind}.conditions[{index}]"
    elif isinstance(node, Not):
        yield node.condition, "not"


def inside(condition: Condition, path: str = "") -> Iterator[tuple[Condition, str, int]]:
    """A condition and all inside it, in the order of reading, each with its path and its depth, from 1."""
    pending = [(condition, path, 1)]
    while pending:
        node, where, depth = pending.pop()
        yield node, where, depth
        pending.extend(reversed([(child, f"{where}.{inner}", depth + 1) for child, inner in children(node)]))
