"""What a condition says of a profile's facts at an instant, and until when it says so by itself. Pure, and fast.

A condition is compiled once into closures. Each yields a verdict: true, false or unknown (None), by Kleene's logic, and
the earliest later instant at which that can change by time alone. The instant may come too early (asked again then, the
answer may be the same), but never too late: nothing changes before it unless the facts do.

Every verdict is worked out from the facts as they are, none from the verdict before: so streaming, batch and edge can't
drift apart. Sums are correctly rounded (`math.fsum`), so they don't depend on what has left the window meanwhile.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from services.segment.domain import (
    All,
    Any,
    AttributeTest,
    Condition,
    Contains,
    Count,
    Equals,
    EventAggregate,
    Exists,
    Facts,
    History,
    In,
    Not,
    NumberRange,
    StartsWith,
    Sum,
    Test,
    TimeRange,
    Value,
    Within,
    kind_of,
)

NEVER = 2**63 - 1
"""Later than every instant, and still an integer that every store can hold."""

_MOST_STEPS = 64

Answer = tuple[bool | None, int]
"""A verdict on the hot path: the value, and the instant until which it holds (NEVER: for ever)."""

Compiled = Callable[[Mapping[str, Value], Mapping[str, History], int], Answer]
"""From attributes, events and now to an answer."""

_TRUE: Answer = (True, NEVER)
_FALSE: Answer = (False, NEVER)
_UNKNOWN: Answer = (None, NEVER)


class Verdict(NamedTuple):
    """What a condition says, and the earliest later instant at which time alone can change it; None if it can't."""

    value: bool | None
    until: int | None


def evaluate(condition: Condition, facts: Facts, now: int) -> Verdict:
    """The verdict on a profile at an instant. Compiles each time: `compiled` is for conditions that are asked often."""
    value, until = compiled(condition)(facts.attributes, facts.events, now)
    return Verdict(value, None if until == NEVER else until)


def compiled(condition: Condition) -> Compiled:
    """A condition made ready to be asked."""
    if isinstance(condition, All):
        return _junction([compiled(child) for child in condition.conditions], decisive=False)
    if isinstance(condition, Any):
        return _junction([compiled(child) for child in condition.conditions], decisive=True)
    if isinstance(condition, Not):
        return _negation(compiled(condition.condition))
    if isinstance(condition, AttributeTest):
        return _attribute(condition)
    return _count(condition, condition.aggregate) if isinstance(condition.aggregate, Count) else _sum(condition)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a condition asks about. When nothing of it changes, only time can change the answer."""

    attributes: frozenset[str]
    event_types: frozenset[str]


def depends_on(condition: Condition) -> Dependencies:
    attributes: set[str] = set()
    event_types: set[str] = set()
    pending = [condition]
    while pending:
        node = pending.pop()
        if isinstance(node, All | Any):
            pending.extend(node.conditions)
        elif isinstance(node, Not):
            pending.append(node.condition)
        elif isinstance(node, AttributeTest):
            attributes.add(node.name)
        else:
            event_types.add(node.event_type)
    return Dependencies(frozenset(attributes), frozenset(event_types))


# --- logic ------------------------------------------------------------------------------------------------------------


def _junction(children: Sequence[Compiled], *, decisive: bool) -> Compiled:
    """`all` (a false child decides) or `any` (a true one does)."""
    nodes = tuple(children)
    decided: Answer = _TRUE if decisive else _FALSE

    def node(attributes: Mapping[str, Value], events: Mapping[str, History], now: int) -> Answer:
        result: bool | None = not decisive
        until = NEVER
        holds = 0
        for child in nodes:
            value, changes = child(attributes, events, now)
            if value is decisive:
                if changes == NEVER:
                    return decided
                # The whole is decided as long as any one child decides it.
                if changes > holds:
                    holds = changes
            elif value is None:
                result = None
            if changes < until:
                until = changes
        return (decisive, holds) if holds else (result, until)

    return node


def _negation(child: Compiled) -> Compiled:
    def node(attributes: Mapping[str, Value], events: Mapping[str, History], now: int) -> Answer:
        value, until = child(attributes, events, now)
        return (None if value is None else not value), until

    return node


# --- attributes and properties ----------------------------------------------------------------------------------------


def _attribute(condition: AttributeTest) -> Compiled:
    name = condition.name
    passes = _test(condition.test)
    missing = _UNKNOWN
    if isinstance(condition.test, Exists):
        missing = _FALSE if condition.test.present else _TRUE

    def node(attributes: Mapping[str, Value], events: Mapping[str, History], now: int) -> Answer:
        value = attributes.get(name)
        if value is None:
            return missing
        return _TRUE if passes(value) else _FALSE

    return node


def _test(test: Test) -> Callable[[Value], bool]:
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
    start = -NEVER if test.at_or_after is None else test.at_or_after
    end = NEVER if test.before is None else test.before
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and start <= value < end


def _among(values: Sequence[Value]) -> Callable[[Value], bool]:
    if all(isinstance(value, str) for value in values):
        texts = frozenset(values)
        return lambda value: isinstance(value, str) and value in texts
    wanted = frozenset(map(_key, values))
    return lambda value: _key(value) in wanted


def _key(value: Value) -> Hashable:
    return kind_of(value), tuple(value) if isinstance(value, list) else value


def _where(tests: Sequence[AttributeTest]) -> Callable[[Mapping[str, Value]], bool] | None:
    """Whether an event's properties satisfy all tests: unknown doesn't satisfy. None when there is nothing to test."""
    if not tests:
        return None
    checks = tuple((test.name, _test(test.test), test.test == Exists(False)) for test in tests)

    def satisfied(properties: Mapping[str, Value]) -> bool:
        for name, passes, if_missing in checks:
            value = properties.get(name)
            if not (if_missing if value is None else passes(value)):
                return False
        return True

    return satisfied


# --- events -----------------------------------------------------------------------------------------------------------
#
# An aggregate is a step function of time: an event enters at its occurred_at, and leaves a `within` window so much
# later. The events of one type are kept in order, so what a window holds is a slice, and what leaves it next is its
# head.


def _count(condition: EventAggregate, aggregate: Count) -> Compiled:
    kind = condition.event_type
    where = _where(condition.where)
    bounds, within = _window(condition)
    low = max(0.0, aggregate.range.low)
    high = aggregate.range.high
    if low > high:
        return lambda attributes, events, now: _FALSE
    least = math.ceil(low) if low < math.inf else NEVER
    none = _TRUE if low <= 0 else _FALSE

    def holds(amounts: Sequence[float]) -> bool:
        return low <= len(amounts) <= high

    def node(attributes: Mapping[str, Value], events: Mapping[str, History], now: int) -> Answer:
        history = events.get(kind)
        if history is None:
            return none
        at = history.at
        first, last = bounds(at, now)
        if where is None:
            at = at[first:last]
        else:
            properties = history.properties
            at = [at[index] for index in range(first, last) if where(properties[index])]
        count = len(at)
        if not count:
            return none
        if at[-1] > now:
            return _walk(at, [1.0] * count, now, within, holds)
        value = low <= count <= high
        if not within:
            return _TRUE if value else _FALSE
        # Events only leave. Which departure makes the difference?
        if value:
            return True, at[count - least] + within if least else NEVER
        return False, at[count - int(high) - 1] + within if count > high else NEVER

    return node


def _sum(condition: EventAggregate) -> Compiled:
    aggregate = condition.aggregate
    assert isinstance(aggregate, Sum)
    kind = condition.event_type
    where = _where(condition.where)
    bounds, within = _window(condition)
    name = aggregate.property
    low, high = aggregate.range.low, aggregate.range.high
    none = _TRUE if low <= 0.0 <= high else _FALSE

    def holds(amounts: Sequence[float]) -> bool:
        return low <= _total(amounts) <= high

    def node(attributes: Mapping[str, Value], events: Mapping[str, History], now: int) -> Answer:
        history = events.get(kind)
        if history is None:
            return none
        first, last = bounds(history.at, now)
        at: list[int] = []
        amounts: list[float] = []
        for index in range(first, last):
            properties = history.properties[index]
            amount = properties.get(name)
            if isinstance(amount, float) and (where is None or where(properties)):
                at.append(history.at[index])
                amounts.append(amount)
        if not at:
            return none
        if at[-1] > now or (within and min(amounts) < 0):
            return _walk(at, amounts, now, within, holds)
        total = _total(amounts)
        value = low <= total <= high
        if not within:
            return _TRUE if value else _FALSE
        # Events only leave, and none of them is negative: the sum only falls, so bisection finds the departure that
        # makes the difference.
        if not value and total < low:
            return _FALSE
        departures = range(1, len(at) + 1)
        if value:
            gone = bisect_left(departures, True, key=lambda left: _total(amounts[left:]) < low)
        else:
            gone = bisect_left(departures, True, key=lambda left: _total(amounts[left:]) <= high)
        return value, at[gone] + within if gone < len(at) else NEVER

    return node


def _window(condition: EventAggregate) -> tuple[Callable[[list[int], int], tuple[int, int]], int]:
    """The slice of a history that is in the window now or will be, and for how long an event stays; 0 for ever."""
    window = condition.window
    if isinstance(window, Within):
        within = window.micros
        return lambda at, now: (bisect_right(at, now - within), len(at)), within
    if isinstance(window, TimeRange):
        start = -NEVER if window.at_or_after is None else window.at_or_after
        end = NEVER if window.before is None else window.before
        return lambda at, now: (bisect_left(at, start), bisect_left(at, end)), 0
    return lambda at, now: (0, len(at)), 0


def _walk(
    at: Sequence[int], amounts: Sequence[float], now: int, within: int, holds: Callable[[Sequence[float]], bool]
) -> Answer:
    """The answer where events come as well as go: by trying each instant at which one does, in order.

    Gives up after some dozens of them, and then answers early rather than late.
    """

    def holds_at(instant: int) -> bool:
        first = bisect_right(at, instant - within) if within else 0
        return holds(amounts[first : bisect_right(at, instant)])

    instants = set(at)
    if within:
        instants.update([instant + within for instant in at])
    later = sorted(instant for instant in instants if instant > now)
    value = holds_at(now)
    for instant in later[:_MOST_STEPS]:
        if holds_at(instant) is not value:
            return value, instant
    return value, later[_MOST_STEPS] if len(later) > _MOST_STEPS else NEVER


def _total(amounts: Sequence[float]) -> float:
    """The exact sum, rounded once; infinite when no double is that great."""
    try:
        return math.fsum(amounts)
    except OverflowError:
        exact = sum(map(Fraction, amounts), Fraction())
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf
