"""Why a condition says what it says: the tree, with what each node looked at. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.segment.domain import (
    Age,
    AnniversaryInDays,
    AttributeTest,
    Average,
    Condition,
    ConsentTest,
    Count,
    DateTest,
    EventAggregate,
    Facts,
    InSegment,
    Max,
    Min,
    Sequence,
    Sum,
    TimeRange,
    Value,
    children,
    inside,
)
from services.segment.domain.calendar import date_of, day_at, next_anniversary
from services.segment.domain.conditions import First
from services.segment.domain.printed import duration, instant, printed
from services.segment.domain.printed import value as shown
from services.segment.evaluate.amounts import mean_of, sum_of
from services.segment.evaluate.compiling import NO_SEGMENTS, Memberships, evaluate
from services.segment.evaluate.dates import zone_of
from services.segment.evaluate.windows import present, selection

Conditions = Mapping[str, Condition]
"""What segments say, by their ids."""

MOST_OF_OTHERS = 1_000
"""Conditions of other segments that are shown beneath those that ask for them."""
DEEPEST = 64
"""Levels of the tree with those: a protobuf message of more than 100 can't be read everywhere."""

_NONE: Conditions = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Explained:
    """One node."""

    printed: str
    looked_at: str
    """The value that was held to the test, such as `3`; `none` if there was none, and empty where it's what the
    children say."""
    value: bool | None
    until: int | None
    """The earliest later instant at which time alone can change the value; None if it can't."""
    children: tuple[Explained, ...] = ()


def explain(
    condition: Condition, facts: Facts, now: int, segments: Memberships = NO_SEGMENTS, conditions: Conditions = _NONE
) -> Explained:
    """The verdict on a profile at an instant, node by node. Beneath a node that asks for a segment stands what that
    says, if it's among `conditions` and there's room for all of it."""
    return _Explaining(facts, now, segments, conditions).node(condition, 1)


@dataclass(slots=True)
class _Explaining:
    facts: Facts
    now: int
    segments: Memberships
    conditions: Conditions
    room: int = MOST_OF_OTHERS

    def node(self, condition: Condition, depth: int) -> Explained:
        value, until = evaluate(condition, self.facts, self.now, self.segments)
        if isinstance(condition, InSegment):
            below = self._asked(condition.segment_id, depth)
        else:
            below = [child for child, _ in children(condition)]
        inner = tuple(self.node(child, depth + 1) for child in below)
        return Explained(printed(condition), _looked_at(condition, self.facts, self.now), value, until, inner)

    def _asked(self, segment_id: str, depth: int) -> list[Condition]:
        if segment_id not in self.conditions:
            return []
        asked = self.conditions[segment_id]
        depths = [depth + level for _, _, level in inside(asked)]
        if len(depths) > self.room or max(depths) > DEEPEST:
            return []
        self.room -= len(depths)
        return [asked]


def _looked_at(condition: Condition, facts: Facts, now: int) -> str:
    if isinstance(condition, AttributeTest):
        return _shown(facts.attributes.get(condition.name))
    if isinstance(condition, DateTest):
        return _date(condition, facts, now)
    if isinstance(condition, ConsentTest):
        agreed = facts.consents.get(condition.key)
        return "unknown" if agreed is None else "opted in" if agreed else "opted out"
    if isinstance(condition, EventAggregate):
        return _events(condition, facts, now)
    if isinstance(condition, Sequence):
        steps = [(step.event_type, step.where) for step in condition.steps]
        numbers = [len(_there(kind, where, condition, facts, now)[0]) for kind, where in steps]
        return ", ".join(f"{number} {step.event_type}" for number, step in zip(numbers, condition.steps, strict=True))
    return ""


def _date(condition: DateTest, facts: Facts, now: int) -> str:
    value = facts.attributes.get(condition.attribute)
    where = zone_of(condition, facts)
    day = None if value is None else date_of(value, where)
    if day is None:
        return _shown(value)
    here = day_at(now, where)
    if isinstance(condition.test, AnniversaryInDays):
        day = next_anniversary(day, here)
    return f"{_shown(value)}, in {day - here} days in {where}"


def _events(condition: EventAggregate, facts: Facts, now: int) -> str:
    at, properties = _there(condition.event_type, condition.where, condition, facts, now)
    aggregate = condition.aggregate
    if isinstance(aggregate, Count):
        return str(len(at))
    if isinstance(aggregate, Sum | Min | Max | Average):
        amounts = [held for one in properties if isinstance(held := one.get(aggregate.property), float)]
        if not amounts and not isinstance(aggregate, Sum):
            return "none"
        return shown(_made(aggregate, amounts))
    if not at:
        return "none"
    index = 0 if isinstance(aggregate, First) else -1
    if isinstance(aggregate.test, Age):
        return f"{duration(now - at[index])} ago"
    if isinstance(aggregate.test, TimeRange):
        return instant(at[index])
    return _shown(properties[index].get(aggregate.test.name))


def _made(aggregate: Sum | Min | Max | Average, amounts: list[float]) -> float:
    if isinstance(aggregate, Sum):
        return sum_of(amounts)
    if isinstance(aggregate, Average):
        return mean_of(amounts)
    return min(amounts) if isinstance(aggregate, Min) else max(amounts)


def _there(
    event_type: str, where: tuple[AttributeTest, ...], condition: EventAggregate | Sequence, facts: Facts, now: int
) -> tuple[list[int], list[dict[str, Value]]]:
    """The events that count now."""
    select, stays = selection(event_type, where, condition.window)
    at, properties = select(facts, now)
    there = present(at, now, stays)
    return at[there], properties[there]


def _shown(value: Value | None) -> str:
    return "none" if value is None else shown(value)
