"""Calendar days in a time zone. Pure.

Days are numbers, as `date.toordinal` counts them. A day begins when clocks first show it: where midnight is skipped,
with the first instant after the gap; where it comes twice, with the first of the two. So days follow each other and
none comes back, even where clocks are set back across midnight.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.segment.domain.values import NEVER, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = date.max.toordinal()
_OF_THE_MACHINE = "localtime"
"""Where there is a zone of this name, it's another one on each machine."""
_MICRO = timedelta(microseconds=1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@lru_cache(maxsize=1_000)
def zone(name: str) -> ZoneInfo | None:
    """The IANA zone of this name; None if there is none."""
    try:
        return None if name == _OF_THE_MACHINE else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: a name that is a directory's, or too long for a file's.
        return None


def day_at(now: int, where: ZoneInfo) -> int:
    """The day that it is at an instant."""
    day = _shown(now, where)
    return day + 1 if start_of(day + 1, where) <= now else day


@lru_cache(maxsize=10_000)
def start_of(day: int, where: ZoneInfo) -> int:
    """The instant at which a day begins; NEVER for one beyond the calendar."""
    if day > _LAST:
        return NEVER
    midnight = datetime.combine(date.fromordinal(max(day, 1)), time.min, where)
    before, after = _offset(midnight), _offset(midnight.replace(fold=1))
    start = _instant(midnight.replace(tzinfo=UTC)) - before
    if after <= before:
        return start
    # Midnight is skipped. The gap ended somewhere in the last `after - before`: when the date was first shown.
    low, high = start - (after - before), start
    while low < high:
        middle = (low + high) // 2
        if _shown(middle, where) >= day:
            high = middle
        else:
            low = middle + 1
    return high


def date_of(value: Value, where: ZoneInfo) -> int | None:
    """The day that an instant or a text such as `2026-11-24` is of; None for another value."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value).toordinal() if _DATE.fullmatch(value) else None
        except ValueError:
            return None
    return day_at(value, where) if isinstance(value, int) and not isinstance(value, bool) else None


def next_anniversary(day: int, since: int) -> int:
    """The first day, at or after `since`, with the month and day of another; the 29th of February's is the 1st of March
    in years without it. Days beyond the calendar come after its last."""
    if since > _LAST:
        return since
    of = date.fromordinal(day)
    year = date.fromordinal(since).year
    found = _in_year(of, year)
    return found if found >= since else _in_year(of, year + 1)


def _in_year(of: date, year: int) -> int:
    if year > date.max.year:
        return _LAST + 1
    try:
        return of.replace(year=year).toordinal()
    except ValueError:
        return date(year, 3, 1).toordinal()


def _shown(at: int, where: ZoneInfo) -> int:
    """The day that clocks show at an instant; at the ends of the calendar that of UTC."""
    moment = _EPOCH + timedelta(microseconds=at)
    try:
        return moment.astimezone(where).toordinal()
    except OverflowError:
        return moment.toordinal()


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset()
    assert offset is not None
    return offset // _MICRO


def _instant(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICRO
