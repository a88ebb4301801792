"""One person as an operator looks at them: who, what they agreed to, what they did, which segments they're in and
were in, and what was decided about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import grpc
from camino.orchestrator.v1.decision_pb2 import Decision
from camino.orchestrator.v1.decision_service_pb2 import ListDecisionsRequest
from camino.orchestrator.v1.decision_service_pb2_grpc import DecisionServiceStub
from camino.profile.v1.profile_pb2 import Event, Profile
from camino.profile.v1.profile_service_pb2 import GetProfileRequest, ListEventsRequest
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_pb2 import Membership
from camino.segment.v1.segment_service_pb2 import ListMembershipsRequest
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from cli import failures, membership_view, output, transitions, values
from cli.targets import Targets

_LAST = 10


@dataclass(frozen=True, slots=True)
class Person:
    profile: Profile
    events: list[Event]
    memberships: list[Membership]
    transitions: list[MembershipChanged]
    decisions: list[Decision]
    troubles: list[str]
    """Why memberships or decisions aren't known, when they aren't: the profile is shown all the same."""


def find(targets: Targets, profile_id: str, identity: str, until: Timestamp | None) -> Person:
    """By id, or by identity when that's given; with the segments as they were at an instant, when that's given. Raises
    grpc.RpcError, and ValueError for what is no identity."""
    profiles = ProfileServiceStub(targets.channel("profile"))
    request = GetProfileRequest(workspace_id=targets.workspace)
    if identity:
        request.identity.CopyFrom(values.identity(identity))
    else:
        request.profile_id = profile_id
    profile = profiles.GetProfile(request).profile
    which = {"workspace_id": targets.workspace, "profile_id": profile.profile_id, "page_size": _LAST}
    events = profiles.ListEvents(ListEventsRequest(**which)).events
    memberships: list[Membership] = []
    told: list[MembershipChanged] = []
    decisions: list[Decision] = []
    troubles: list[str] = []
    try:
        of_segments = transitions.newest(targets, profile.profile_id, until)
        if until is None:
            memberships += _memberships(targets, profile.profile_id)
            told += islice(of_segments, _LAST)
        else:
            every = list(of_segments)
            memberships += transitions.standings(every)
            told += every[:_LAST]
    except grpc.RpcError as error:
        troubles.append(f"memberships are not known: {failures.line(error)}")
    try:
        stub = DecisionServiceStub(targets.channel("orchestrator"))
        decisions += stub.ListDecisions(ListDecisionsRequest(**which)).decisions
    except grpc.RpcError as error:
        troubles.append(f"decisions are not known: {failures.line(error)}")
    return Person(profile, list(events), memberships, told, decisions, troubles)


def _memberships(targets: Targets, profile_id: str) -> Iterator[Membership]:
    stub = SegmentServiceStub(targets.channel("segment"))
    request = ListMembershipsRequest(workspace_id=targets.workspace, profile_id=profile_id)
    while True:
        reply = stub.ListMemberships(request)
        yield from reply.memberships
        if not reply.next_page_token:
            return
        request.page_token = reply.next_page_token


def plain(person: Person) -> dict[str, Any]:
    return {
        "profile": output.plain(person.profile),
        "events": [output.plain(event) for event in person.events],
        "memberships": [output.plain(held) for held in person.memberships],
        "transitions": [output.plain(one) for one in person.transitions],
        "decisions": [output.plain(decision) for decision in person.decisions],
    }


def show(person: Person, at: str) -> None:
    """`at` is the instant of the segments, empty for now."""
    profile = person.profile
    facts = [
        ("profile", profile.profile_id),
        *(("identity", f"{identity.namespace}:{identity.value}") for identity in profile.identities),
        ("time zone", profile.time_zone or "unknown"),
        ("locale", profile.locale or "unknown"),
        ("revision", profile.revision),
        ("since", output.instant(profile.create_time)),
    ]
    output.table("profile", ("what", "value"), facts)
    output.table("attributes", ("name", "value", "observed"), _attributes(profile))
    output.table("consents", ("channel", "topic", "state", "changed", "source"), _consents(profile))
    output.table(f"last {_LAST} events", ("at", "type", "event id", "properties"), map(_event, person.events))
    segments = [_membership(held, profile.profile_id) for held in person.memberships]
    output.table(f"segments at {at}" if at else "segments", ("segment", "member", "what happened"), segments)
    membership_view.transitions(person.transitions, _LAST, at)
    output.table(
        f"last {_LAST} decisions: why they did, or didn't, get it",
        ("at", "from", "step", "channel", "topic", "verdict", "because"),
        map(_decision, person.decisions),
    )


def _attributes(profile: Profile) -> list[tuple[str, str, str]]:
    return [
        (name, values.shown(attribute.value), output.instant(attribute.observed_at))
        for name, attribute in sorted(profile.attributes.items())
    ]


def _consents(profile: Profile) -> list[tuple[str, ...]]:
    return [
        (
            output.enum_name(consent, "channel"),
            consent.topic,
            output.enum_name(consent, "state"),
            output.instant(consent.changed_at),
            consent.source,
        )
        for consent in profile.consents
    ]


def _membership(held: Membership, profile_id: str) -> tuple[str, ...]:
    segment = held.segment_id if held.profile_id == profile_id else f"{held.segment_id} (as {held.profile_id})"
    return segment, "yes" if held.member else "no", membership_view.history(held)


def _event(event: Event) -> tuple[str, ...]:
    properties = ", ".join(f"{name}={values.shown(value)}" for name, value in sorted(event.properties.items()))
    return output.instant(event.occurred_at), event.type, event.event_id, properties


def _decision(decision: Decision) -> tuple[str, ...]:
    verdict = output.enum_name(decision, "verdict").upper()
    if decision.HasField("hold_until"):
        verdict += f" until {output.instant(decision.hold_until)}"
    return (
        output.instant(decision.decide_time),
        decision.source_name,
        decision.step_id,
        output.enum_name(decision, "channel"),
        decision.topic,
        verdict,
        because(decision),
    )


def because(decision: Decision) -> str:
    """The rules that stood against it; all of them, when none did."""
    against = [rule for rule in decision.rules if output.enum_name(rule, "verdict") != "send"]
    return "; ".join(f"{rule.rule} ({rule.input})" if rule.input else rule.rule for rule in against or decision.rules)
