"""Candidates for `google.protobuf.Duration` and `google.protobuf.Timestamp`, by their nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from camino.testing.schema.candidates import Candidates, options
from camino.testing.schema.lines import Line, integers
from camino.testing.schema.numbers import OPTIONS, numbers
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_SECOND = 1_000_000_000
_MOST_SECONDS = 315_576_000_000  # Duration's own limit: 10,000 years.
_DURATIONS = integers(-_MOST_SECONDS * _SECOND, _MOST_SECONDS * _SECOND, (0, 1, -1, _SECOND, 1_500_000_000))


def _instant(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * _SECOND


# Timestamp's own range: from the first instant of the year 1 to the last of 9999.
_FIRST, _LAST = _instant(1, 1, 1), _instant(9999, 12, 31) + 24 * 3600 * _SECOND - 1
_TIMESTAMPS = integers(_FIRST, _LAST, (0, 1, -1, _instant(2026, 1, 1)))
_BEYOND = integers(_FIRST - _SECOND, _LAST + _SECOND, (0, 1, -1, _instant(2026, 1, 1)))
_LONG_PAST, _FAR_FUTURE = _instant(2020, 1, 1), _instant(2200, 1, 1)


def durations(rules: Any, number: int) -> Candidates:
    return _on(_DURATIONS, options(rules, OPTIONS), number * _SECOND).map(_duration)


def timestamps(rules: Any, number: int) -> Candidates:
    given = options(rules, OPTIONS | {"lt_now", "gt_now"})
    # Now is somewhere between: the candidates, and so the tests, don't depend on it.
    relative = {"lt_now": ("lt", _LONG_PAST), "gt_now": ("gt", _FAR_FUTURE)}
    named = {relative[option][0]: option for option in relative if given.pop(option, False)}
    given |= {bound: _timestamp(relative[option][1]) for bound, option in named.items()}
    # Bounds on both sides may be those of the range itself: then only what is beyond it breaks them.
    bounded = not given.keys().isdisjoint(("gt", "gte")) and not given.keys().isdisjoint(("lt", "lte"))
    found = _on(_BEYOND if bounded else _TIMESTAMPS, given, _instant(2026, 1, 1) + number * _SECOND)
    near = {named.get(option, option): values for option, values in found.near.items()}
    return Candidates(found.usual, found.edges, near, found.telling).map(_timestamp)


def _on(line: Line, given: dict[str, Any], telling: int) -> Candidates:
    sets = ("in", "not_in")
    values = {option: [*map(_nanos, value)] if option in sets else _nanos(value) for option, value in given.items()}
    return numbers(line, values, telling)


def _nanos(value: Any) -> int:
    return int(value.seconds) * _SECOND + int(value.nanos)


def _timestamp(nanos: int) -> Timestamp:
    seconds, rest = divmod(nanos, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest)


def _duration(nanos: int) -> Duration:
    # Its two parts have the same sign.
    seconds, rest = divmod(abs(nanos), _SECOND)
    sign = -1 if nanos < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * rest)
