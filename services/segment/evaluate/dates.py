"""Dates against today. They change where a day begins, in the profile's zone."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from services.segment.domain import NEVER, AnniversaryInDays, DateTest, DayRange, Facts
from services.segment.domain.calendar import date_of, day_at, next_anniversary, start_of, zone
from services.segment.evaluate.answers import FALSE, UNKNOWN, Answer, Compiled

_FARTHEST = 365


def date(condition: DateTest) -> Compiled:
    name = condition.attribute
    days = condition.test.days
    says = _anniversary if isinstance(condition.test, AnniversaryInDays) else _distance

    def node(facts: Facts, now: int) -> Answer:
        value = facts.attributes.get(name)
        if value is None:
            return UNKNOWN
        where = zone_of(condition, facts)
        day = date_of(value, where)
        if day is None:
            return FALSE
        value, changes = says(day, day_at(now, where), days)
        return value, NEVER if changes is None else start_of(changes, where)

    return node


def zone_of(condition: DateTest, facts: Facts) -> ZoneInfo:
    """The profile's; the condition's, if that isn't known."""
    found = zone(facts.time_zone) or zone(condition.time_zone) or zone("UTC")
    assert found is not None
    return found


def _distance(day: int, now: int, days: DayRange) -> tuple[bool, int | None]:
    """Whether a date is so many days from today, and the day on which that may change: it comes nearer, and goes."""
    left = day - now
    if days.at_most is not None and left > days.at_most:
        return False, day - days.at_most
    if days.at_least is None:
        return True, None
    return (False, None) if left < days.at_least else (True, day - days.at_least + 1)


def _anniversary(day: int, now: int, days: DayRange) -> tuple[bool, int | None]:
    """The same of its next anniversary."""
    least = max(days.at_least or 0, 0)
    most = _FARTHEST if days.at_most is None else days.at_most
    coming = next_anniversary(day, now)
    left = coming - now
    if left > most:
        return False, coming - most
    if left >= least:
        return True, coming - least + 1
    # This one is too near already: the one after it.
    return False, max(coming + 1, next_anniversary(day, coming + 1) - most)
