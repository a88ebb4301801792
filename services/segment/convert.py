"""Between the wire, the domain and the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple
from hashlib import sha256
from typing import Any

from camino.profile.v1 import profile_pb2
from camino.segment.v1 import segment_events_pb2, segment_pb2, segment_service_pb2
from camino.type.v1 import value_pb2

from services.chassis.documents import Document
from services.chassis.wire import instant, timestamp, value_of
from services.segment import definitions
from services.segment.catalogue import Catalogue, Head, Version
from services.segment.domain import Facts, History, Person, Value, consent_key
from services.segment.evaluate import NEVER
from services.segment.standing import Cause, Failure, Membership, Prospect, Transition
from services.segment.state import Event, ProfileState

Body = dict[str, Any]

_OPTED_IN = profile_pb2.CONSENT_STATE_OPTED_IN
_SAID_NOTHING = profile_pb2.CONSENT_STATE_UNSPECIFIED


# --- facts ------------------------------------------------------------------------------------------------------------


def key_of(workspace_id: str, profile_id: str) -> str:
    return f"{workspace_id}/{profile_id}"


def person_of(profile: profile_pb2.Profile) -> Person:
    attributes = {name: value_of(held.value) for name, held in profile.attributes.items()}
    consents = {
        consent_key(definitions.channel_of(consent.channel), consent.topic): consent.state == _OPTED_IN
        for consent in profile.consents
        if consent.state != _SAID_NOTHING
    }
    return Person(attributes, consents, profile.time_zone)


def event_of(wire: profile_pb2.Event) -> Event:
    properties = {name: value_of(value) for name, value in wire.properties.items()}
    return Event(wire.event_id, wire.type, instant(wire.occurred_at), properties)


def context_of(wire: Mapping[str, value_pb2.Value]) -> dict[str, Value]:
    """Attributes that hold for one question."""
    return {name: value_of(value) for name, value in wire.items()}


def facts_of(body: Body) -> Facts:
    return Facts(body["attributes"], histories_of(body), body.get("consents", {}), body.get("time_zone", ""))


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
        memberships_of(body),
        prospects_of(body),
        transitions_of(body),
        absorbed_by(body),
    )


def absorbed_by(body: Body) -> set[str]:
    """The profiles that turned out to be a stored one, and whose events it has."""
    return set(body.get("absorbed", ()))


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
        "events": event_rows(state),
        "memberships": membership_rows(state),
        **reason_fields(state),
    }
    if state.facts.consents:
        body["consents"] = state.facts.consents
    if state.facts.time_zone:
        body["time_zone"] = state.facts.time_zone
    if state.prospects:
        body["prospects"] = {
            segment_id: [prospect.edition, prospect.member, prospect.until]
            for segment_id, prospect in state.prospects.items()
        }
    if differs_from := state.differs_from:
        body["differs"], body["differs_from"] = differing_in(workspace_id, partition), differs_from
    if state.absorbed:
        body["absorbed"] = sorted(state.absorbed)
    wake_at = state.wake_at
    if wake_at != NEVER:
        body["wake_at"] = wake_at
    if state.outbox:
        body["outbox"] = transition_rows(state)
    return body


def event_rows(state: ProfileState) -> Body:
    return {kind: [held.at, held.ids, held.properties] for kind, held in state.facts.events.items()}


def membership_rows(state: ProfileState) -> Body:
    return {
        segment_id: [held.member, held.entered_at, held.exited_at, held.until]
        for segment_id, held in state.memberships.items()
    }


def reason_fields(state: ProfileState) -> Body:
    """What brought its memberships about, and what failed: fields of their own, which other versions pass over."""
    causes = {
        segment_id: [int(held.cause), held.event_id, held.version]
        for segment_id, held in state.memberships.items()
        if held.cause
    }
    body: Body = {"causes": causes} if causes else {}
    failures = _failure_rows(state.memberships)
    foreseen = _failure_rows(state.prospects)
    if failures or foreseen:
        body |= {"failing": 1, "failures": failures}
    if foreseen:
        body["failures_foreseen"] = foreseen
    return body


def _failure_rows(held: Mapping[str, Membership] | Mapping[str, Prospect]) -> Body:
    return {
        segment_id: [failure.at, failure.error, int(failure.cause), failure.event_id, failure.version]
        for segment_id, one in held.items()
        if (failure := one.failure)
    }


def memberships_of(body: Body) -> dict[str, Membership]:
    found = {segment_id: Membership(*row) for segment_id, row in body["memberships"].items()}
    for segment_id, row in body.get("causes", {}).items():
        held = found[segment_id]
        held.cause, held.event_id, held.version = row
    for segment_id, row in body.get("failures", {}).items():
        found[segment_id].failure = _failure_of(row)
    return found


def has_never_left(body: Body, segment_id: str) -> bool:
    """Whether a stored profile is in a segment and has been from the first time on that it entered."""
    member, _, exited_at, _ = body["memberships"].get(segment_id, (False, 0, 0, 0))
    return bool(member) and not exited_at


def prospects_of(body: Body) -> dict[str, Prospect]:
    found = {segment_id: Prospect(*row) for segment_id, row in body.get("prospects", {}).items()}
    for segment_id, row in body.get("failures_foreseen", {}).items():
        found[segment_id].failure = _failure_of(row)
    return found


def _failure_of(row: list[Any]) -> Failure:
    at, error, cause, event_id, version = row
    return Failure(at, error, Cause(cause), event_id, version)


def differing_in(workspace_id: str, partition: int) -> str:
    """What the profiles of a partition are indexed by which an upcoming version would change."""
    return f"{workspace_id}/{partition}"


def failing_in(body: Body) -> Iterable[str]:
    """The segments that a stored profile can't be evaluated by, in the version that serves or the upcoming one."""
    return body.get("failures", {}).keys() | body.get("failures_foreseen", {}).keys()


def histories_of(body: Body) -> dict[str, History]:
    return {kind: History(*columns) for kind, columns in body["events"].items()}


def membership(profile_id: str, segment_id: str, held: Membership) -> segment_pb2.Membership:
    """How a profile stands in a segment."""
    return segment_pb2.Membership(
        segment_id=segment_id,
        profile_id=profile_id,
        member=held.member,
        enter_time=timestamp(held.entered_at) if held.entered_at else None,
        exit_time=timestamp(held.exited_at) if held.exited_at and not held.member else None,
        cause=held.cause,
        event_id=held.event_id,
        segment_version=held.version,
        evaluation_error=held.failure.error if held.failure else "",
    )


# --- transitions ------------------------------------------------------------------------------------------------------


def transition_rows(state: ProfileState) -> list[list[Any]]:
    """What its outbox holds."""
    return [transition_row(one) for one in state.outbox]


def transitions_of(body: Body, where: str = "outbox") -> list[Transition]:
    """What a stored profile's outbox holds, or its exits, if it was erased."""
    return [transition_of(row) for row in body.get(where, ())]


def transition_row(one: Transition) -> list[Any]:
    return [one.sequence, one.segment_id, one.member, one.effective_at, int(one.cause), one.event_id, one.version]


def transition_of(row: list[Any]) -> Transition:
    sequence, segment_id, member, effective_at, cause, event_id, version = row
    return Transition(sequence, segment_id, member, effective_at, Cause(cause), event_id, version)


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


def segment_members(segment_id: str, projected: Iterable[Document]) -> segment_service_pb2.SegmentMembers:
    """Members of a segment, from what is projected of them."""
    members = segment_service_pb2.SegmentMembers(segment_id=segment_id)
    for document in projected:
        members.profile_ids.append(document.id.split("/", 2)[2])
        members.sequences.append(document.body["sequence"])
    return members


# --- catalogues and definitions ---------------------------------------------------------------------------------------


def catalogue_of(body: Body | None) -> Catalogue:
    if body is None:
        return Catalogue()
    return Catalogue(body["edition"], {segment_id: _head_of(row) for segment_id, row in body["segments"].items()})


def _head_of(row: list[Any]) -> Head:
    created_at, serving, serves_from, switched_at, ready, upcoming, former = row
    return Head(
        created_at,
        _version_of(serving),
        serves_from,
        switched_at,
        ready,
        _version_of(upcoming) if upcoming else None,
        _version_of(former) if former else None,
    )


def _version_of(row: list[Any]) -> Version:
    *columns, asks = row
    return Version(*columns, asks=tuple(asks))


def catalogue_body(catalogue: Catalogue, now: int) -> Body:
    return {
        "all": 1,
        "changed_at": now,
        "edition": catalogue.edition,
        "segments": {segment_id: astuple(head) for segment_id, head in catalogue.heads.items()},
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
    workspace_id: str,
    segment_id: str,
    head: Head,
    definition: bytes,
    *,
    members: int,
    profiles: int,
    computed: int,
    failing: int,
) -> segment_pb2.Segment:
    newest = head.newest
    return segment_pb2.Segment(
        workspace_id=workspace_id,
        segment_id=segment_id,
        definition=definition_wire(definition),
        version=newest.number,
        serving_version=head.serving.number,
        state=_state_of(head),
        members_complete=head.ready,
        etag=newest.etag,
        create_time=timestamp(head.created_at),
        update_time=timestamp(newest.published_at),
        member_count=members,
        profile_count=profiles,
        computed_count=computed,
        evaluation_errors=failing,
    )


def _state_of(head: Head) -> segment_pb2.SegmentState:
    if head.upcoming or not (head.ready or head.switched_at):
        return segment_pb2.SEGMENT_STATE_COMPUTING
    return segment_pb2.SEGMENT_STATE_READY if head.ready else segment_pb2.SEGMENT_STATE_SWITCHING
