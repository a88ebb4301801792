"""From a condition to what can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from services.segment.domain import (
    NEVER,
    All,
    Any,
    AttributeTest,
    Condition,
    ConsentTest,
    Count,
    DateTest,
    EventAggregate,
    Facts,
    InSegment,
    Not,
    Sequence,
    Sum,
)
from services.segment.evaluate.answers import Compiled, Decided
from services.segment.evaluate.consents import consent
from services.segment.evaluate.dates import date
from services.segment.evaluate.logic import junction, negation
from services.segment.evaluate.picks import pick
from services.segment.evaluate.sequences import sequence
from services.segment.evaluate.totals import count, total
from services.segment.evaluate.values import attribute

Memberships = Mapping[str, Compiled]
"""What says whether a profile is in a segment, by the segment's id."""

NO_SEGMENTS: Memberships = MappingProxyType({})


class Verdict(NamedTuple):
    """What a condition says, and the earliest later instant at which time alone can change it; None if it can't."""

    value: bool | None
    until: int | None


def evaluate(condition: Condition, facts: Facts, now: int, segments: Memberships = NO_SEGMENTS) -> Verdict:
    """The verdict on a profile at an instant. Compiles each time: `compiled` is for conditions that are asked often."""
    value, until = compiled(condition, segments)(facts, now)
    return Verdict(value, None if until == NEVER else until)


def compiled(condition: Condition, segments: Memberships = NO_SEGMENTS) -> Compiled:
    """A condition made ready to be asked. Raises KeyError if it asks for a segment that isn't among these."""
    if isinstance(condition, All | Any):
        inner = [compiled(child, segments) for child in condition.conditions]
        return junction(inner, decisive=isinstance(condition, Any))
    if isinstance(condition, Not):
        return negation(compiled(condition.condition, segments))
    if isinstance(condition, AttributeTest):
        return attribute(condition)
    if isinstance(condition, DateTest):
        return date(condition)
    if isinstance(condition, EventAggregate):
        return _aggregate(condition)
    if isinstance(condition, Sequence):
        return sequence(condition)
    if isinstance(condition, ConsentTest):
        return consent(condition)
    assert isinstance(condition, InSegment)
    return segments[condition.segment_id]


def _aggregate(condition: EventAggregate) -> Compiled:
    if isinstance(condition.aggregate, Count):
        return count(condition, condition.aggregate)
    return total(condition, condition.aggregate) if isinstance(condition.aggregate, Sum) else pick(condition)


def membership(ask: Compiled, missing: bool) -> Decided:
    """What a segment's condition says of membership: `missing` where it's unknown."""

    def node(facts: Facts, now: int) -> tuple[bool, int]:
        value, until = ask(facts, now)
        return (missing if value is None else value), until

    return node
