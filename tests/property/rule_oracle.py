"""What a rule means, told as plainly as can be: everything is worked out anew from the raw facts, by looking at all of
it. Slow, and obviously right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from itertools import product
from zoneinfo import ZoneInfo

from services.segment import domain as d

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARTER = 15 * 60 * 1_000_000
"""Wherever these tests go, clocks first show another date at a full quarter of an hour."""
_TWO_DAYS = 2 * 24 * 4

Event = tuple[int, str, dict[str, d.Value]]
Segments = Mapping[str, d.Definition]


def naive(rule: d.Condition, facts: d.Facts, now: int, segments: Segments) -> bool | None:
    if isinstance(rule, d.All):
        found = [naive(child, facts, now, segments) for child in rule.conditions]
        return False if False in found else None if None in found else True
    if isinstance(rule, d.Any):
        found = [naive(child, facts, now, segments) for child in rule.conditions]
        return True if True in found else None if None in found else False
    if isinstance(rule, d.Not):
        inner = naive(rule.condition, facts, now, segments)
        return None if inner is None else not inner
    if isinstance(rule, d.InSegment):
        other = segments[rule.segment_id]
        member = naive(other.condition, facts, now, segments)
        return other.missing if member is None else member
    if isinstance(rule, d.ConsentTest):
        agreed = facts.consents.get(f"{rule.channel}/{rule.topic}")
        return {None: "unknown", True: "opted in", False: "opted out"}[agreed] == rule.standing
    if isinstance(rule, d.AttributeTest):
        return on_value(rule, facts.attributes)
    if isinstance(rule, d.DateTest):
        return on_date(rule, facts, now)
    if isinstance(rule, d.Sequence):
        return on_sequence(rule, facts, now)
    return on_events(rule, facts, now)


# --- values -----------------------------------------------------------------------------------------------------------


def on_value(rule: d.AttributeTest, held: Mapping[str, d.Value]) -> bool | None:
    test = rule.test
    if isinstance(test, d.Exists):
        return (rule.name in held) is test.present
    if rule.name not in held:
        return None
    value = held[rule.name]
    if isinstance(test, d.Equals):
        return same(value, test.value)
    if isinstance(test, d.In):
        return any(same(value, wanted) for wanted in test.values)
    if isinstance(test, d.Contains):
        return type(value) in (str, list) and test.text in value
    if isinstance(test, d.StartsWith):
        return type(value) is str and value[: len(test.text)] == test.text
    if isinstance(test, d.NumberRange):
        return type(value) is float and in_range(Fraction(value), test)
    return type(value) is int and in_time(value, test)


def same(value: d.Value, wanted: d.Value) -> bool:
    if type(value) is list:
        return type(wanted) is tuple and value == list(wanted)
    return type(value) is type(wanted) and value == wanted


def in_time(at: int, times: d.TimeRange) -> bool:
    return (times.at_or_after is None or at >= times.at_or_after) and (times.before is None or at < times.before)


def in_range(exact: Fraction, numbers: d.NumberRange) -> bool:
    """As doubles compare: what is exact is rounded once."""
    try:
        number = float(exact)
    except OverflowError:
        number = math.inf if exact > 0 else -math.inf
    return (
        (numbers.at_least is None or number >= numbers.at_least)
        and (numbers.above is None or number > numbers.above)
        and (numbers.at_most is None or number <= numbers.at_most)
        and (numbers.below is None or number < numbers.below)
    )


# --- events -----------------------------------------------------------------------------------------------------------


def counted(
    facts: d.Facts, kind: str, where: tuple[d.AttributeTest, ...], window: d.Window, now: int
) -> Iterator[Event]:
    """The events that count, from the first to the last."""
    history = facts.events.get(kind, d.History([], [], []))
    for at, id_, held in sorted(zip(history.at, history.ids, history.properties, strict=True), key=lambda one: one[:2]):
        inside = at <= now
        if isinstance(window, d.Within):
            inside = now - window.micros < at <= now
        elif window is not None:
            inside = inside and in_time(at, window)
        if inside and all(on_value(test, held) is True for test in where):
            yield at, id_, held


def on_events(rule: d.EventAggregate, facts: d.Facts, now: int) -> bool | None:
    events = list(counted(facts, rule.event_type, rule.where, rule.window, now))
    wanted = rule.aggregate
    if isinstance(wanted, d.Count):
        return in_range(Fraction(len(events)), wanted.range)
    if isinstance(wanted, d.First | d.Last):
        if not events:
            return None
        at, _, held = events[0] if isinstance(wanted, d.First) else events[-1]
        if isinstance(wanted.test, d.AttributeTest):
            return on_value(wanted.test, held)
        if isinstance(wanted.test, d.TimeRange):
            return in_time(at, wanted.test)
        old_enough = wanted.test.at_least is None or now - at >= wanted.test.at_least
        return old_enough and (wanted.test.below is None or now - at < wanted.test.below)
    # A number means the decimal that's written for it.
    amounts = [
        Fraction(str(held[wanted.property])) for _, _, held in events if type(held.get(wanted.property)) is float
    ]
    if isinstance(wanted, d.Sum):
        return in_range(sum(amounts, Fraction()), wanted.range)
    if not amounts:
        return None
    if isinstance(wanted, d.Average):
        return in_range(sum(amounts, Fraction()) / len(amounts), wanted.range)
    return in_range(min(amounts) if isinstance(wanted, d.Min) else max(amounts), wanted.range)


def on_sequence(rule: d.Sequence, facts: d.Facts, now: int) -> bool:
    """Whether any choice of one event for each step will do."""
    steps = [[at for at, _, _ in counted(facts, step.event_type, step.where, rule.window, now)] for step in rule.steps]
    if rule.from_first:
        steps[0] = steps[0][:1]
    return any(
        all(chosen[index] < chosen[index + 1] for index in range(len(chosen) - 1))
        and (rule.within is None or chosen[-1] - chosen[0] < rule.within)
        for chosen in product(*steps)
    )


# --- dates ------------------------------------------------------------------------------------------------------------


def on_date(rule: d.DateTest, facts: d.Facts, now: int) -> bool | None:
    if rule.attribute not in facts.attributes:
        return None
    where = zone_of(facts.time_zone) or zone_of(rule.time_zone) or ZoneInfo("UTC")
    value = facts.attributes[rule.attribute]
    if type(value) is int:
        day = latest_shown(value, where)
    elif type(value) is str and len(value) == 10 and value[4] == value[7] == "-":
        try:
            day = date(int(value[:4]), int(value[5:7]), int(value[8:]))
        except ValueError:
            return False
    else:
        return False
    today = latest_shown(now, where)
    distance = (day - today).days
    if isinstance(rule.test, d.AnniversaryInDays):
        distance = days_to_anniversary(day, today)
    least, most = rule.test.days.at_least, rule.test.days.at_most
    return (least is None or distance >= least) and (most is None or distance <= most)


@cache
def days_to_anniversary(of: date, today: date) -> int:
    distance = 0
    while not has_anniversary(of, today + timedelta(days=distance)):
        distance += 1
    return distance


def has_anniversary(of: date, on: date) -> bool:
    if (of.month, of.day) == (2, 29) and on.year % 4:
        return (on.month, on.day) == (3, 1)
    return (on.month, on.day) == (of.month, of.day)


def zone_of(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except Exception:
        return None


def latest_shown(now: int, where: ZoneInfo) -> date:
    """The latest date that clocks have shown until now: dates don't come back."""
    return _latest_shown(now // QUARTER, where)


@cache
def _latest_shown(quarter: int, where: ZoneInfo) -> date:
    return max(shown(earlier, where) for earlier in range(quarter - _TWO_DAYS, quarter + 1))


@cache
def shown(quarter: int, where: ZoneInfo) -> date:
    """The date that clocks show at a full quarter of an hour."""
    return (EPOCH + timedelta(microseconds=quarter * QUARTER)).astimezone(where).date()


@cache
def day_starts(start: int, days: int, where: ZoneInfo) -> tuple[int, ...]:
    """The instants, in so many days from one, at which clocks show a date for the first time."""
    first = start // QUARTER
    quarters = range(first, first + days * 24 * 4)
    return tuple(
        quarter * QUARTER for quarter in quarters if _latest_shown(quarter, where) > _latest_shown(quarter - 1, where)
    )
