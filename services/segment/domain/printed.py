"""Conditions as a person would write them on a line, such as
`count(purchase where amount >= 50 within 30d) >= 2 and country in ("ES", "PT")`. Pure.

Names that aren't plain words, and all texts, are in double quotes, with JSON's escapes; instants are RFC 3339.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from services.segment.domain.conditions import (
    Age,
    All,
    AnniversaryInDays,
    Any,
    AttributeTest,
    Condition,
    ConsentTest,
    Count,
    DateTest,
    DayRange,
    EventAggregate,
    First,
    InSegment,
    Last,
    Not,
    Sequence,
    Step,
    Window,
    Within,
)
from services.segment.domain.values import (
    Contains,
    Equals,
    Exists,
    In,
    NumberRange,
    StartsWith,
    Test,
    TimeRange,
    Value,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
_WORDS = frozenset(("all", "and", "any", "not", "or", "then", "where", "within", "since", "before", "true", "false"))
_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1))


def printed(condition: Condition) -> str:
    """On one line."""
    if isinstance(condition, All):
        return " and ".join(_operand(child, Any) for child in condition.conditions)
    if isinstance(condition, Any):
        return " or ".join(_operand(child, All) for child in condition.conditions)
    if isinstance(condition, Not):
        return f"not {_operand(condition.condition, All, Any)}"
    if isinstance(condition, AttributeTest):
        return _attribute(condition)
    if isinstance(condition, DateTest):
        return _date(condition)
    if isinstance(condition, EventAggregate):
        return _event(condition)
    if isinstance(condition, Sequence):
        return _sequence(condition)
    if isinstance(condition, ConsentTest):
        return f"consent({condition.channel}, {name(condition.topic)}) is {condition.standing}"
    assert isinstance(condition, InSegment)
    return f"in segment {name(condition.segment_id)}"


def in_lines(condition: Condition, width: int = 100) -> str:
    """On as many lines as it takes to keep each within a width, where that can be done by giving each part of `all` and
    `any` its own."""
    return "\n".join(_lines(condition, width))


def _lines(condition: Condition, width: int) -> list[str]:
    whole = printed(condition)
    if len(whole) <= width or not isinstance(condition, All | Any | Not):
        return [whole]
    if isinstance(condition, Not):
        return ["not (", *_indented(_lines(condition.condition, width - 2)), ")"]
    lines = [f"{'all' if isinstance(condition, All) else 'any'} of"]
    for child in condition.conditions:
        first, *rest = _lines(child, width - 2)
        lines += [f"- {first}", *_indented(rest)]
    return lines


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _operand(condition: Condition, *loose: type) -> str:
    """In brackets, where it would be taken apart without them."""
    text = printed(condition)
    return f"({text})" if isinstance(condition, loose) else text


# --- attributes -------------------------------------------------------------------------------------------------------


def _attribute(condition: AttributeTest) -> str:
    return _held(name(condition.name), condition.test)


def _held(subject: str, test: Test) -> str:
    if isinstance(test, Equals):
        return f"{subject} = {value(test.value)}"
    if isinstance(test, In):
        return f"{subject} in ({', '.join(value(one) for one in test.values)})"
    if isinstance(test, Contains):
        return f"{subject} contains {value(test.text)}"
    if isinstance(test, StartsWith):
        return f"{subject} starts with {value(test.text)}"
    if isinstance(test, Exists):
        return f"{subject} {'exists' if test.present else 'is missing'}"
    return _numbers(subject, test) if isinstance(test, NumberRange) else _times(subject, test)


def _numbers(subject: str, numbers: NumberRange) -> str:
    bounds = ((">=", numbers.at_least), (">", numbers.above), ("<=", numbers.at_most), ("<", numbers.below))
    said = [f"{sign} {value(bound)}" for sign, bound in bounds if bound is not None]
    return f"{subject} {' and '.join(said)}"


def _times(subject: str, times: TimeRange) -> str:
    return f"{subject} {_span(times)}"


def _span(times: TimeRange) -> str:
    said = []
    if times.at_or_after is not None:
        said.append(f"since {instant(times.at_or_after)}")
    if times.before is not None:
        said.append(f"before {instant(times.before)}")
    return " ".join(said)


def _date(condition: DateTest) -> str:
    is_anniversary = isinstance(condition.test, AnniversaryInDays)
    subject = f"{'anniversary' if is_anniversary else 'date'}({name(condition.attribute)}"
    subject += f", {condition.time_zone})" if condition.time_zone else ")"
    return f"{subject} {_days(condition.test.days)}"


def _days(days: DayRange) -> str:
    least, most = days.at_least, days.at_most
    if least == most and least is not None:
        return {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(least) or f"in {least} days"
    if least is None or most is None:
        return f"in <= {most} days" if least is None else f"in >= {least} days"
    return f"in {least} to {most} days"


# --- events -----------------------------------------------------------------------------------------------------------


def _event(condition: EventAggregate) -> str:
    aggregate = condition.aggregate
    events = _step(Step(condition.event_type, condition.where)) + _window(condition.window)
    kind = type(aggregate).__name__.lower()
    if isinstance(aggregate, Count):
        return _numbers(f"count({events})", aggregate.range)
    if isinstance(aggregate, First | Last):
        test = aggregate.test
        if isinstance(test, AttributeTest):
            return _held(f"{kind}({events}).{name(test.name)}", test.test)
        if isinstance(test, TimeRange):
            return _times(f"{kind}({events}) occurred", test)
        return f"{kind}({events}) is {_age(test)}"
    return _numbers(f"{kind}({name(aggregate.property)} of {events})", aggregate.range)


def _sequence(condition: Sequence) -> str:
    steps = " then ".join(map(_step, condition.steps))
    start = "from the first " if condition.from_first else ""
    apart = "" if condition.within is None else f" less than {duration(condition.within)} apart"
    return f"sequence({start}{steps}{_window(condition.window)}){apart}"


def _step(step: Step) -> str:
    where = " and ".join(map(_attribute, step.where))
    return f"{name(step.event_type)} where {where}" if where else name(step.event_type)


def _window(window: Window) -> str:
    if window is None:
        return ""
    return f" within {duration(window.micros)}" if isinstance(window, Within) else f" {_span(window)}"


def _age(age: Age) -> str:
    said = []
    if age.at_least is not None:
        said.append(f">= {duration(age.at_least)}")
    if age.below is not None:
        said.append(f"< {duration(age.below)}")
    return f"{' and '.join(said)} ago"


# --- words ------------------------------------------------------------------------------------------------------------


def name(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text not in _WORDS else json.dumps(text, ensure_ascii=False)


def value(of: Value) -> str:
    if isinstance(of, str):
        return json.dumps(of, ensure_ascii=False)
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, float):
        return str(int(of)) if of.is_integer() and abs(of) < 1e15 else repr(of)
    return instant(of) if isinstance(of, int) else f"[{', '.join(value(item) for item in of)}]"


def instant(at: int) -> str:
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def duration(micros: int) -> str:
    """Such as `30d` or `1h30m`."""
    text, left = "", micros
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"
