"""How many events there are, and sums of their properties."""

from __future__ import annotations

import math
from bisect import bisect_left

from services.segment.domain import NEVER, Count, EventAggregate, Facts, Sum
from services.segment.evaluate.amounts import sum_is_within
from services.segment.evaluate.answers import FALSE, TRUE, Answer, Compiled, by_trying
from services.segment.evaluate.values import satisfying
from services.segment.evaluate.windows import bounds, changes, present


def count(condition: EventAggregate, aggregate: Count) -> Compiled:
    kind = condition.event_type
    where = satisfying(condition.where)
    slice_of, stays = bounds(condition.window)
    low = max(0.0, aggregate.range.low)
    high = aggregate.range.high
    if low > high:
        return lambda facts, now: FALSE
    least = math.ceil(low) if low < math.inf else NEVER
    none = TRUE if low <= 0 else FALSE

    def node(facts: Facts, now: int) -> Answer:
        history = facts.events.get(kind)
        if history is None:
            return none
        at = history.at
        first, last = slice_of(at, now)
        if where is None:
            at = at[first:last]
        else:
            properties = history.properties
            at = [at[index] for index in range(first, last) if where(properties[index])]
        number = len(at)
        if not number:
            return none
        if at[-1] > now:
            return by_trying(
                changes(at, stays), now, lambda instant: low <= len(at[present(at, instant, stays)]) <= high
            )
        value = low <= number <= high
        if not stays:
            return TRUE if value else FALSE
        # Events only leave. Which departure makes the difference?
        if value:
            return True, at[number - least] + stays if least else NEVER
        return False, at[number - int(high) - 1] + stays if number > high else NEVER

    return node


def total(condition: EventAggregate, aggregate: Sum) -> Compiled:
    kind = condition.event_type
    where = satisfying(condition.where)
    slice_of, stays = bounds(condition.window)
    name = aggregate.property
    low, high = aggregate.range.low, aggregate.range.high
    none = TRUE if low <= 0.0 <= high else FALSE

    def node(facts: Facts, now: int) -> Answer:
        history = facts.events.get(kind)
        if history is None:
            return none
        first, last = slice_of(history.at, now)
        at, properties = history.at[first:last], history.properties[first:last]
        if where is not None:
            kept = [index for index, held in enumerate(properties) if where(held)]
            at, properties = [at[index] for index in kept], [properties[index] for index in kept]
        amounts = [amount for held in properties if isinstance(amount := held.get(name), float)]
        if len(amounts) < len(at):
            at = [instant for instant, held in zip(at, properties, strict=True) if isinstance(held.get(name), float)]
        if not at:
            return none
        signed = min(amounts) < 0
        if at[-1] > now or (stays and signed):
            return by_trying(
                changes(at, stays),
                now,
                lambda instant: sum_is_within(amounts[present(at, instant, stays)], low, high, signed),
            )
        value = sum_is_within(amounts, low, high, signed)
        if not stays:
            return TRUE if value else FALSE
        # Events only leave, and none of them is negative: the sum only falls, so bisection finds the departure that
        # makes the difference.
        if not value and not sum_is_within(amounts, low, math.inf, signed):
            return FALSE
        departures = range(1, len(at) + 1)
        if value:
            gone = bisect_left(
                departures, True, key=lambda left: not sum_is_within(amounts[left:], low, math.inf, signed)
            )
        else:
            gone = bisect_left(
                departures, True, key=lambda left: sum_is_within(amounts[left:], -math.inf, high, signed)
            )
        return value, at[gone] + stays if gone < len(at) else NEVER

    return node
