"""What the least, the greatest, the mean, the first and the last of some events are held to. Unknown of none.

Each tells what it makes of every rest that is left as the head of the window leaves, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import Any

from services.segment.domain import (
    NEVER,
    Age,
    AttributeTest,
    Average,
    EventAggregate,
    Facts,
    First,
    Last,
    Max,
    Min,
    TimeRange,
    Value,
)
from services.segment.evaluate.amounts import mean_is_within
from services.segment.evaluate.answers import UNKNOWN, Answer, Compiled, by_trying, for_ever
from services.segment.evaluate.values import span, value_of
from services.segment.evaluate.windows import changes, present, selection

Properties = dict[str, Value]
Rests = Callable[[Sequence[int], Sequence[Properties]], Iterable[bool | None]]
"""Of some events in their order, what is said of all of them, of all but the first, and so on to the last alone."""


def pick(condition: EventAggregate) -> Compiled:
    """The aggregates that something is unknown of when there are no events."""
    aggregate = condition.aggregate
    if isinstance(aggregate, Min | Max | Average):
        rests = _of_mean(aggregate) if isinstance(aggregate, Average) else _of_extreme(aggregate)
        return _stepping(condition, rests, of_property=aggregate.property)
    assert isinstance(aggregate, First | Last)
    if isinstance(aggregate.test, Age):
        return _aging(condition, aggregate.test, is_last=isinstance(aggregate, Last))
    one = _of_one(aggregate.test)
    return _stepping(condition, _of_last(one) if isinstance(aggregate, Last) else _of_first(one))


def _stepping(condition: EventAggregate, rests: Rests, *, of_property: str | None = None) -> Compiled:
    select, stays = selection(condition.event_type, condition.where, condition.window)

    def node(facts: Facts, now: int) -> Answer:
        at, properties = select(facts, now)
        if of_property is not None:
            numeric = [index for index, held in enumerate(properties) if isinstance(held.get(of_property), float)]
            if len(numeric) < len(at):
                at, properties = [at[index] for index in numeric], [properties[index] for index in numeric]
        if not at:
            return UNKNOWN
        if at[-1] > now:

            def value_at(instant: int) -> bool | None:
                there = present(at, instant, stays)
                return next(iter(rests(at[there], properties[there])), None)

            return by_trying(changes(at, stays), now, value_at)
        said = iter(rests(at, properties))
        value = next(said)
        if not stays:
            return for_ever(value)
        for index, left in enumerate(said, 1):
            # Those of one instant leave together.
            if left is not value and at[index - 1] != at[index]:
                return value, at[index - 1] + stays
        return value, NEVER if value is None else at[-1] + stays

    return node


def _of_extreme(aggregate: Min | Max) -> Rests:
    name, low, high = aggregate.property, aggregate.range.low, aggregate.range.high
    extreme_of = min if isinstance(aggregate, Min) else max

    def rests(at: Sequence[int], properties: Sequence[Properties]) -> Iterator[bool | None]:
        amounts: list[Any] = [held[name] for held in properties]
        if not amounts:
            return
        yield low <= extreme_of(amounts) <= high
        # Most ask no further.
        for extreme in reversed(list(accumulate(amounts[:0:-1], extreme_of))):
            yield low <= extreme <= high

    return rests


def _of_mean(aggregate: Average) -> Rests:
    name, low, high = aggregate.property, aggregate.range.low, aggregate.range.high

    def rests(at: Sequence[int], properties: Sequence[Properties]) -> Iterable[bool | None]:
        amounts: list[Any] = [held[name] for held in properties]
        return (mean_is_within(amounts[left:], low, high) for left in range(len(amounts)))

    return rests


One = Callable[[int, Properties], bool | None]
"""From when an event occurred and its properties to what is said of it."""


def _of_one(test: AttributeTest | TimeRange) -> One:
    if isinstance(test, TimeRange):
        start, end = span(test)
        return lambda at, properties: start <= at < end
    verdict = value_of(test)
    return lambda at, properties: verdict(properties)


def _of_first(one: One) -> Rests:
    return lambda at, properties: map(one, at, properties)


def _of_last(one: One) -> Rests:
    return lambda at, properties: repeat(one(at[-1], properties[-1]), len(at)) if at else ()


def _aging(condition: EventAggregate, ages: Age, *, is_last: bool) -> Compiled:
    """How long ago the first or the last event was."""
    select, stays = selection(condition.event_type, condition.where, condition.window)
    at_least = ages.at_least or 0
    below = NEVER if ages.below is None else ages.below
    # An event turns these ages, and then answers another way.
    turns = [0, at_least, *((below,) if ages.below is not None else ()), *((stays,) if stays else ())]

    def node(facts: Facts, now: int) -> Answer:
        at, _ = select(facts, now)
        if not at:
            return UNKNOWN

        def value_at(instant: int) -> bool | None:
            there = present(at, instant, stays)
            if there.start == there.stop:
                return None
            age: int = instant - at[there.stop - 1 if is_last else there.start]
            return at_least <= age < below

        # Nothing else is ever asked for its age, unless events come or go meanwhile.
        asked = at
        if at[-1] <= now and (is_last or not stays):
            asked = at[-1:] if is_last else at[:1]
        return by_trying((instant + turn for instant in asked for turn in turns), now, value_at)

    return node
