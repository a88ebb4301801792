"""Between the wire, the domain and the store."""

from __future__ import annotations

from typing import Any

from camino.profile.v1 import profile_pb2
from camino.segment.v1 import segment_events_pb2, segment_pb2
from camino.type.v1 import condition_pb2, value_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import InvalidDefinition, Violation
from services.segment.domain import (
    All,
    Any_,
    Attribute,
    Between,
    Condition,
    Contains,
    Definition,
    Equals,
    Events,
    Ever,
    Exists,
    In,
    Not,
    NumberRange,
    StartsWith,
    Test,
    TimeRange,
    Within,
    dependencies,
)
from services.segment.evaluate import NEVER, compile_definition
from services.segment.tracking import Segment, Tracked, Transition

Body = dict[str, Any]

_MAX_DEPTH = 20


def instant(at: Any) -> int:
    """A Timestamp or Duration in microseconds."""
    return int(at.seconds) * 1_000_000 + at.nanos // 1_000


def timestamp(at: int) -> Timestamp | None:
    """The wire's instant; none for 0."""
    if not at:
        return None
    seconds, micros = divmod(at, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


def value_of(wire: value_pb2.Value) -> Any:
    kind = wire.WhichOneof("kind")
    if kind == "timestamp_value":
        return instant(wire.timestamp_value)
    if kind == "string_list_value":
        return list(wire.string_list_value.values)
    return getattr(wire, kind)


def definition_of(wire: segment_pb2.SegmentDefinition) -> Definition:
    """The definition. Raises `InvalidDefinition` with every violation and its path."""
    found: list[Violation] = []
    condition = _condition(wire.condition, "definition.condition", found, 1)
    if found:
        raise InvalidDefinition(found)
    return Definition(condition, wire.missing == segment_pb2.MISSING_TRUE)


def _condition(wire: condition_pb2.Condition, path: str, found: list[Violation], depth: int) -> Condition:
    if depth > _MAX_DEPTH:
        found.append(Violation(path, f"conditions nest deeper than {_MAX_DEPTH}; flatten them"))
        return All(())
    kind = wire.WhichOneof("kind")
    if kind in ("all", "any"):
        inner = tuple(
            _condition(condition, f"{path}.{kind}.conditions[{number}]", found, depth + 1)
            for number, condition in enumerate(getattr(wire, kind).conditions)
        )
        return All(inner) if kind == "all" else Any_(inner)
    if kind == "not":
        return Not(_condition(getattr(wire, "not"), f"{path}.not", found, depth + 1))
    if kind == "attribute":
        return _attribute(wire.attribute, f"{path}.attribute", found)
    return _events(wire.event, f"{path}.event", found)


def _attribute(wire: condition_pb2.AttributeCondition, path: str, found: list[Violation]) -> Attribute:
    kind = wire.WhichOneof("test")
    test: Test
    if kind == "equals":
        test = Equals(value_of(wire.equals))
    elif kind == "in":
        test = In(tuple(value_of(value) for value in getattr(wire, "in").values))
    elif kind == "contains":
        test = Contains(wire.contains)
    elif kind == "starts_with":
        test = StartsWith(wire.starts_with)
    elif kind == "exists":
        test = Exists(wire.exists)
    elif kind == "number":
        test = _number_range(wire.number, f"{path}.number", found)
    else:
        test = _time_range(wire.time, f"{path}.time", found)
    return Attribute(wire.name, test)


def _number_range(wire: condition_pb2.NumberRange, path: str, found: list[Violation]) -> NumberRange:
    bounds = {name: getattr(wire, name) for name in ("at_least", "above", "at_most", "below") if wire.HasField(name)}
    result = NumberRange(**bounds)
    if result.empty():
        found.append(Violation(path, "no number is in this range; mend its bounds"))
    return result


def _time_range(wire: condition_pb2.TimeRange, path: str, found: list[Violation]) -> TimeRange:
    start = instant(wire.at_or_after) if wire.HasField("at_or_after") else -NEVER
    end = instant(wire.before) if wire.HasField("before") else NEVER
    if start >= end:
        found.append(Violation(path, "before must be later than at_or_after"))
    return TimeRange(start, end)


def _events(wire: condition_pb2.EventCondition, path: str, found: list[Violation]) -> Events:
    where = tuple(_attribute(test, f"{path}.where[{number}]", found) for number, test in enumerate(wire.where))
    window: Ever | Within | Between = Ever()
    if wire.window.HasField("within"):
        window = Within(instant(wire.window.within))
    elif wire.window.HasField("between"):
        window = Between(_time_range(wire.window.between, f"{path}.window.between", found))
    if wire.HasField("sum"):
        total = _number_range(wire.sum.range, f"{path}.sum.range", found)
        return Events(wire.event_type, where, window, wire.sum.property, total)
    return Events(wire.event_type, where, window, "", _number_range(wire.count, f"{path}.count", found))


def compiled(segment_id: str, body: Body) -> Segment:
    """A stored segment, ready to evaluate."""
    definition = definition_of(segment_pb2.SegmentDefinition.FromString(body["definition"]))
    attributes, event_types = dependencies(definition.condition)
    return Segment(segment_id, body["version"], compile_definition(definition), attributes, event_types)


def wire_segment(workspace_id: str, segment_id: str, body: Body, member_count: int) -> segment_pb2.Segment:
    return segment_pb2.Segment(
        workspace_id=workspace_id,
        segment_id=segment_id,
        definition=segment_pb2.SegmentDefinition.FromString(body["definition"]),
        version=body["version"],
        state=body["state"],
        member_count=member_count,
        etag=body["etag"],
        create_time=timestamp(body["created"]),
        update_time=timestamp(body["updated"]),
        computed_count=body["computed"],
    )


def attributes_of(profile: profile_pb2.Profile) -> dict[str, Any]:
    return {name: value_of(attribute.value) for name, attribute in profile.attributes.items()}


def tracked_of(body: Body) -> Tracked:
    """What is kept of a profile. Shares its lists with the body; what changes is replaced, not changed in place."""
    return Tracked(
        body["revision"],
        body["attributes"],
        body["events"],
        body["memberships"],
        dict(body["due"]),
        body["sequence"],
        [Transition(*row) for row in body["outbox"]],
    )


def tracked_body(tracked: Tracked, partition: int, sweep_at: int) -> Body:
    wake_at = tracked.wake_at
    return {
        "revision": tracked.revision,
        "attributes": tracked.attributes,
        "events": tracked.events,
        "memberships": tracked.memberships,
        "due": tracked.due,
        "sequence": tracked.sequence,
        "outbox": [list(transition) for transition in tracked.outbox],
        "partition": partition,
        "wake_at": wake_at if wake_at < NEVER else None,
        "relay_at": sweep_at if tracked.outbox else None,
    }


def membership_changed(
    workspace_id: str, profile_id: str, transition: Transition
) -> segment_events_pb2.MembershipChanged:
    return segment_events_pb2.MembershipChanged(
        workspace_id=workspace_id,
        segment_id=transition.segment_id,
        profile_id=profile_id,
        member=transition.member,
        effective_at=timestamp(transition.effective_at),
        cause=transition.cause,
        event_id=transition.event_id,
        segment_version=transition.version,
        sequence=transition.sequence,
    )
