"""Between the wire, the domain and the store."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from camino.profile.v1 import profile_pb2
from camino.segment.v1 import segment_events_pb2, segment_pb2
from camino.type.v1 import condition_pb2, value_pb2

from services.chassis.errors import InvalidDefinition, Violation
from services.chassis.wire import instant, timestamp, value_of
from services.segment import domain
from services.segment.catalogue import Catalogue, Head
from services.segment.domain import Condition, Definition, Facts, History, NumberRange, TimeRange, Value
from services.segment.evaluate import NEVER
from services.segment.state import Cause, Event, Membership, ProfileState, Transition

Body = dict[str, Any]


# --- facts ------------------------------------------------------------------------------------------------------------


def key_of(workspace_id: str, profile_id: str) -> str:
    return f"{workspace_id}/{profile_id}"


def attributes_of(profile: profile_pb2.Profile) -> dict[str, Value]:
    return {name: value_of(held.value) for name, held in profile.attributes.items()}


def event_of(wire: profile_pb2.Event) -> Event:
    properties = {name: value_of(value) for name, value in wire.properties.items()}
    return Event(wire.event_id, wire.type, instant(wire.occurred_at), properties)


def facts_of(body: Body) -> Facts:
    return Facts(body["attributes"], {kind: History(*columns) for kind, columns in body["events"].items()})


def knows_event(body: Body, event_id: str) -> bool:
    return any(event_id in ids for _, ids, _ in body["events"].values())


def state_of(body: Body) -> ProfileState:
    """The state in a body that was decoded for this: it's changed in place."""
    return ProfileState(
        facts_of(body),
        body["revision"],
        body["edition"],
        body["as_of"],
        body["sequence"],
        {segment_id: Membership(*row) for segment_id, row in body["memberships"].items()},
        transitions_of(body),
    )


def state_body(state: ProfileState, workspace_id: str, partition: int) -> Body:
    """Without `outbox_at`: when the outbox is due is not the state's business."""
    body: Body = {
        "workspace": workspace_id,
        "partition": partition,
        "revision": state.revision,
        "edition": state.edition,
        "as_of": state.as_of,
        "sequence": state.sequence,
        "attributes": state.facts.attributes,
        "events": {kind: [held.at, held.ids, held.properties] for kind, held in state.facts.events.items()},
        "memberships": {
            segment_id: [held.member, held.entered_at, held.exited_at, held.until]
            for segment_id, held in state.memberships.items()
        },
    }
    wake_at = state.wake_at
    if wake_at != NEVER:
        body["wake_at"] = wake_at
    if state.outbox:
        body["outbox"] = [_row(transition) for transition in state.outbox]
    return body


# --- transitions ------------------------------------------------------------------------------------------------------


def _row(transition: Transition) -> list[Any]:
    return [
        transition.sequence,
        transition.segment_id,
        transition.member,
        transition.effective_at,
        int(transition.cause),
        transition.event_id,
        transition.version,
    ]


def transitions_of(body: Body) -> list[Transition]:
    """What a stored profile's outbox holds."""
    return [
        Transition(sequence, segment_id, member, effective_at, Cause(cause), event_id, version)
        for sequence, segment_id, member, effective_at, cause, event_id, version in body.get("outbox", ())
    ]


_OWING = ("outbox", "outbox_at", "traceparent")
"""The fields of a profile with transitions that are still to be published."""


def without_relayed(body: Body, sequence: int) -> Body | None:
    """A stored profile without its transitions up to a sequence; None when it holds none of those."""
    left = [row for row in body.get("outbox", ()) if row[0] > sequence]
    if len(left) == len(body.get("outbox", ())):
        return None
    kept = {name: value for name, value in body.items() if name not in _OWING}
    owing = {name: body[name] for name in _OWING if name in body}
    return {**kept, **owing, "outbox": left} if left else kept


def membership_changed(
    workspace_id: str, profile_id: str, transition: Transition
) -> segment_events_pb2.MembershipChanged:
    return segment_events_pb2.MembershipChanged(
        workspace_id=workspace_id,
        segment_id=transition.segment_id,
        profile_id=profile_id,
        member=transition.member,
        effective_at=timestamp(transition.effective_at),
        cause=int(transition.cause),
        event_id=transition.event_id,
        segment_version=transition.version,
        sequence=transition.sequence,
    )


def membership_key(workspace_id: str, segment_id: str, profile_id: str) -> str:
    return f"{workspace_id}/{segment_id}/{profile_id}"


def member_of(workspace_id: str, segment_id: str) -> str:
    """What the members of a segment are indexed by."""
    return f"{workspace_id}/{segment_id}"


def membership_body(workspace_id: str, transition: Transition) -> Body:
    """The projection of a profile's latest transition in a segment."""
    body: Body = {"sequence": transition.sequence, "at": transition.effective_at}
    if transition.member:
        body["member_of"] = member_of(workspace_id, transition.segment_id)
    return body


# --- catalogues and definitions ---------------------------------------------------------------------------------------


def catalogue_of(body: Body | None) -> Catalogue:
    if body is None:
        return Catalogue()
    return Catalogue(body["edition"], {segment_id: Head(*row) for segment_id, row in body["segments"].items()})


def catalogue_body(catalogue: Catalogue, now: int) -> Body:
    return {
        "all": 1,
        "changed_at": now,
        "edition": catalogue.edition,
        "segments": {
            segment_id: [head.version, head.edition, head.etag, head.created_at, head.updated_at, head.ready]
            for segment_id, head in catalogue.heads.items()
        },
    }


def definition_key(workspace_id: str, segment_id: str, etag: str) -> str:
    return f"{workspace_id}/{segment_id}/{etag}"


def serialized(definition: segment_pb2.SegmentDefinition) -> tuple[bytes, str]:
    """A definition as it's filed, and its etag: the same definition has the same."""
    data: bytes = definition.SerializeToString(deterministic=True)
    return data, sha256(data).hexdigest()[:32]


def definition_wire(data: bytes) -> segment_pb2.SegmentDefinition:
    return segment_pb2.SegmentDefinition.FromString(data)


def segment(
    workspace_id: str, segment_id: str, head: Head, definition: bytes, members: int, computed: int
) -> segment_pb2.Segment:
    return segment_pb2.Segment(
        workspace_id=workspace_id,
        segment_id=segment_id,
        definition=definition_wire(definition),
        version=head.version,
        state=segment_pb2.SEGMENT_STATE_READY if head.ready else segment_pb2.SEGMENT_STATE_COMPUTING,
        member_count=members,
        etag=head.etag,
        create_time=timestamp(head.created_at),
        update_time=timestamp(head.updated_at),
        computed_count=computed,
    )


def definition_of(wire: segment_pb2.SegmentDefinition) -> Definition:
    """A sound definition. Raises `InvalidDefinition` with everything that is wrong with it."""
    found: list[Violation] = []
    condition = _condition(wire.condition, "definition.condition", found)
    found.extend(domain.violations(condition, "definition.condition"))
    if wire.ByteSize() > domain.MAX_BYTES:
        found.append(Violation("definition", f"takes {wire.ByteSize()} bytes; at most {domain.MAX_BYTES} are allowed"))
    if found:
        raise InvalidDefinition(found)
    return Definition(condition, wire.missing == segment_pb2.MISSING_TRUE, wire.display_name)


_PLACEHOLDER = domain.AttributeTest("", domain.Exists(True))
"""Stands where nothing stands, so that the rest is looked at all the same."""


def _condition(wire: condition_pb2.Condition, path: str, found: list[Violation]) -> Condition:
    kind = wire.WhichOneof("kind")
    if kind == "all":
        return domain.All(_conditions(wire.all.conditions, f"{path}.all", found))
    if kind == "any":
        return domain.Any(_conditions(wire.any.conditions, f"{path}.any", found))
    if kind == "not":
        return domain.Not(_condition(getattr(wire, "not"), f"{path}.not", found))
    if kind == "attribute":
        return _attribute(wire.attribute, f"{path}.attribute", found)
    if kind == "event":
        return _event(wire.event, f"{path}.event", found)
    found.append(Violation(path, "says nothing; set one of all, any, not, attribute or event"))
    return _PLACEHOLDER


def _conditions(wires: Iterable[condition_pb2.Condition], path: str, found: list[Violation]) -> tuple[Condition, ...]:
    return tuple(_condition(wire, f"{path}.conditions[{index}]", found) for index, wire in enumerate(wires))


def _attribute(wire: condition_pb2.AttributeCondition, path: str, found: list[Violation]) -> domain.AttributeTest:
    kind = wire.WhichOneof("test")
    test: domain.Test
    if kind == "equals":
        test = domain.Equals(_constant(wire.equals, f"{path}.equals", found))
    elif kind == "in":
        values = getattr(wire, "in").values
        test = domain.In(
            tuple(_constant(value, f"{path}.in.values[{index}]", found) for index, value in enumerate(values))
        )
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
        found.append(
            Violation(path, "tests nothing; set one of equals, in, contains, starts_with, exists, number, time")
        )
        return _PLACEHOLDER
    return domain.AttributeTest(wire.name, test)


def _constant(wire: value_pb2.Value, path: str, found: list[Violation]) -> Value:
    if wire.WhichOneof("kind") is None:
        found.append(Violation(path, "has no value"))
        return ""
    value = value_of(wire)
    return tuple(value) if isinstance(value, list) else value


def _event(wire: condition_pb2.EventCondition, path: str, found: list[Violation]) -> Condition:
    window: domain.Window = None
    if wire.HasField("window"):
        kind = wire.window.WhichOneof("kind")
        if kind == "within":
            window = domain.Within(wire.window.within.seconds * 1_000_000 + wire.window.within.nanos // 1_000)
        elif kind == "between":
            window = _times(wire.window.between)
        else:
            found.append(Violation(f"{path}.window", "is empty; set within or between, or leave it out for ever"))
    where = tuple(_attribute(test, f"{path}.where[{index}]", found) for index, test in enumerate(wire.where))
    aggregate: domain.Count | domain.Sum
    kind = wire.WhichOneof("aggregate")
    if kind == "count":
        aggregate = domain.Count(_numbers(wire.count))
    elif kind == "sum":
        aggregate = domain.Sum(wire.sum.property, _numbers(wire.sum.range))
    else:
        found.append(Violation(path, "aggregates nothing; set count or sum"))
        return _PLACEHOLDER
    return domain.EventAggregate(wire.event_type, aggregate, where, window)


def _numbers(wire: condition_pb2.NumberRange) -> NumberRange:
    return NumberRange(
        wire.at_least if wire.HasField("at_least") else None,
        wire.above if wire.HasField("above") else None,
        wire.at_most if wire.HasField("at_most") else None,
        wire.below if wire.HasField("below") else None,
    )


def _times(wire: condition_pb2.TimeRange) -> TimeRange:
    return TimeRange(
        instant(wire.at_or_after) if wire.HasField("at_or_after") else None,
        instant(wire.before) if wire.HasField("before") else None,
    )
