"""Definitions from the wire to the domain, with everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from camino.segment.v1 import segment_pb2
from camino.type.v1 import condition_pb2, messaging_pb2, value_pb2

from services.chassis.errors import InvalidDefinition, Violation
from services.chassis.wire import instant, value_of
from services.segment import domain
from services.segment.domain import Channel, Condition, Definition, NumberRange, Standing, TimeRange, Value

_CHANNELS: dict[int, Channel] = {
    messaging_pb2.CHANNEL_EMAIL: "email",
    messaging_pb2.CHANNEL_SMS: "sms",
    messaging_pb2.CHANNEL_PUSH: "push",
    messaging_pb2.CHANNEL_WEBHOOK: "webhook",
}
_STANDINGS: dict[int, Standing] = {
    condition_pb2.CONSENT_STANDING_OPTED_IN: "opted in",
    condition_pb2.CONSENT_STANDING_OPTED_OUT: "opted out",
    condition_pb2.CONSENT_STANDING_UNKNOWN: "unknown",
}


def channel_of(number: int) -> Channel:
    """Raises KeyError for none."""
    return _CHANNELS[number]


def definition_of(wire: segment_pb2.SegmentDefinition) -> Definition:
    """A sound definition. Raises `InvalidDefinition` with everything that is wrong with it."""
    definition, found = read(wire)
    if found:
        raise InvalidDefinition(found)
    return definition


def read(wire: segment_pb2.SegmentDefinition) -> tuple[Definition, list[Violation]]:
    """A definition as far as it can be read, and everything that is wrong with it."""
    found: list[Violation] = []
    condition = _Reader(found).condition(wire.condition, "definition.condition")
    found.extend(domain.violations(condition, "definition.condition"))
    if wire.ByteSize() > domain.MAX_BYTES:
        found.append(Violation("definition", f"takes {wire.ByteSize()} bytes; at most {domain.MAX_BYTES} are allowed"))
    return Definition(condition, wire.missing == segment_pb2.MISSING_TRUE, wire.display_name), found


_PLACEHOLDER = domain.AttributeTest("", domain.Exists(True))
"""Stands where nothing stands, so that the rest is looked at all the same."""


class _Reader:
    def __init__(self, found: list[Violation]) -> None:
        """`found` grows by what can't be read."""
        self._found = found

    def condition(self, wire: condition_pb2.Condition, path: str) -> Condition:
        kind = wire.WhichOneof("kind")
        if kind == "all":
            return domain.All(self._conditions(wire.all.conditions, f"{path}.all"))
        if kind == "any":
            return domain.Any(self._conditions(wire.any.conditions, f"{path}.any"))
        if kind == "not":
            return domain.Not(self.condition(getattr(wire, "not"), f"{path}.not"))
        if kind == "attribute":
            return self._attribute(wire.attribute, f"{path}.attribute")
        if kind == "event":
            return self._event(wire.event, f"{path}.event")
        if kind == "date":
            return self._date(wire.date, f"{path}.date")
        if kind == "sequence":
            return self._sequence(wire.sequence, f"{path}.sequence")
        if kind == "in_segment":
            return domain.InSegment(wire.in_segment)
        if kind == "consent":
            return self._consent(wire.consent, f"{path}.consent")
        kinds = ", ".join(field.name for field in wire.DESCRIPTOR.fields)
        self._wrong(path, f"says nothing; set one of {kinds}")
        return _PLACEHOLDER

    def _wrong(self, path: str, message: str) -> None:
        self._found.append(Violation(path, message))

    def _conditions(self, wires: Iterable[condition_pb2.Condition], path: str) -> tuple[Condition, ...]:
        return tuple(self.condition(wire, f"{path}.conditions[{index}]") for index, wire in enumerate(wires))

    # --- attributes, dates, consents ---

    def _attributes(
        self, wires: Sequence[condition_pb2.AttributeCondition], path: str
    ) -> tuple[domain.AttributeTest, ...]:
        return tuple(self._attribute(wire, f"{path}[{index}]") for index, wire in enumerate(wires))

    def _attribute(self, wire: condition_pb2.AttributeCondition, path: str) -> domain.AttributeTest:
        kind = wire.WhichOneof("test")
        test: domain.Test
        if kind == "equals":
            test = domain.Equals(self._constant(wire.equals, f"{path}.equals"))
        elif kind == "in":
            values = enumerate(getattr(wire, "in").values)
            test = domain.In(tuple(self._constant(value, f"{path}.in.values[{index}]") for index, value in values))
        elif kind == "contains":
            test = domain.Contains(wire.contains)
        elif kind == "starts_with":
            test = domain.StartsWith(wire.starts_with)
        elif kind == "exists":
            test = domain.Exists(wire.exists)
        elif kind == "number":
            test = _numbers(wire.number)
        elif kind == "time":
            test = _times(wire.time)
        else:
            self._wrong(path, "tests nothing; set one of equals, in, contains, starts_with, exists, number, time")
            return _PLACEHOLDER
        return domain.AttributeTest(wire.name, test)

    def _constant(self, wire: value_pb2.Value, path: str) -> Value:
        if wire.WhichOneof("kind") is None:
            self._wrong(path, "has no value")
            return ""
        value = value_of(wire)
        return tuple(value) if isinstance(value, list) else value

    def _date(self, wire: condition_pb2.DateCondition, path: str) -> Condition:
        test: domain.InDays | domain.AnniversaryInDays
        kind = wire.WhichOneof("test")
        if kind == "in_days":
            test = domain.InDays(_days(wire.in_days))
        elif kind == "anniversary_in_days":
            test = domain.AnniversaryInDays(_days(wire.anniversary_in_days))
        else:
            self._wrong(path, "tests nothing; set in_days or anniversary_in_days")
            return _PLACEHOLDER
        return domain.DateTest(wire.attribute, test, wire.time_zone)

    def _consent(self, wire: condition_pb2.ConsentCondition, path: str) -> Condition:
        channel, standing = _CHANNELS.get(wire.channel), _STANDINGS.get(wire.standing)
        if channel is None:
            self._wrong(f"{path}.channel", "names no channel")
        if standing is None:
            self._wrong(f"{path}.standing", "says nothing; set opted in, opted out or unknown")
        return domain.ConsentTest(channel, wire.topic, standing) if channel and standing else _PLACEHOLDER

    # --- events ---

    def _event(self, wire: condition_pb2.EventCondition, path: str) -> Condition:
        window = self._window(wire, path)
        where = self._attributes(wire.where, f"{path}.where")
        kind = wire.WhichOneof("aggregate")
        aggregate: domain.Aggregate
        if kind == "count":
            aggregate = domain.Count(_numbers(wire.count))
        elif kind == "sum":
            aggregate = domain.Sum(wire.sum.property, _numbers(wire.sum.range))
        elif kind == "min":
            aggregate = domain.Min(wire.min.property, _numbers(wire.min.range))
        elif kind == "max":
            aggregate = domain.Max(wire.max.property, _numbers(wire.max.range))
        elif kind == "average":
            aggregate = domain.Average(wire.average.property, _numbers(wire.average.range))
        elif kind == "first":
            aggregate = domain.First(self._one(wire.first, f"{path}.first"))
        elif kind == "last":
            aggregate = domain.Last(self._one(wire.last, f"{path}.last"))
        else:
            self._wrong(path, "aggregates nothing; set count, sum, min, max, average, first or last")
            return _PLACEHOLDER
        return domain.EventAggregate(wire.event_type, aggregate, where, window)

    def _one(self, wire: condition_pb2.EventTest, path: str) -> domain.AttributeTest | TimeRange | domain.Age:
        kind = wire.WhichOneof("test")
        if kind == "property":
            return self._attribute(wire.property, f"{path}.property")
        if kind == "occurred_at":
            return _times(wire.occurred_at)
        if kind == "age":
            age = wire.age
            return domain.Age(
                instant(age.at_least) if age.HasField("at_least") else None,
                instant(age.below) if age.HasField("below") else None,
            )
        self._wrong(path, "tests nothing; set property, occurred_at or age")
        return _PLACEHOLDER

    def _sequence(self, wire: condition_pb2.SequenceCondition, path: str) -> Condition:
        steps = tuple(
            domain.Step(step.event_type, self._attributes(step.where, f"{path}.steps[{index}].where"))
            for index, step in enumerate(wire.steps)
        )
        within = instant(wire.within) if wire.HasField("within") else None
        return domain.Sequence(steps, within, self._window(wire, path), wire.from_first)

    def _window(self, wire: Any, path: str) -> domain.Window:
        if not wire.HasField("window"):
            return None
        kind = wire.window.WhichOneof("kind")
        if kind == "within":
            return domain.Within(instant(wire.window.within))
        if kind == "between":
            return _times(wire.window.between)
        self._wrong(f"{path}.window", "is empty; set within or between, or leave it out for ever")
        return None


def _numbers(wire: condition_pb2.NumberRange) -> NumberRange:
    return NumberRange(
        wire.at_least if wire.HasField("at_least") else None,
        wire.above if wire.HasField("above") else None,
        wire.at_most if wire.HasField("at_most") else None,
        wire.below if wire.HasField("below") else None,
    )


def _days(wire: condition_pb2.DayRange) -> domain.DayRange:
    return domain.DayRange(
        wire.at_least if wire.HasField("at_least") else None,
        wire.at_most if wire.HasField("at_most") else None,
    )


def _times(wire: condition_pb2.TimeRange) -> TimeRange:
    return TimeRange(
        instant(wire.at_or_after) if wire.HasField("at_or_after") else None,
        instant(wire.before) if wire.HasField("before") else None,
    )
