"""Between the wire, the domain and the store: values, people, journeys and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from camino.orchestrator.v1 import journey_pb2
from camino.profile.v1 import profile_pb2
from camino.type.v1 import condition_pb2, messaging_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis import wire as shared
from services.chassis.clock import DAY
from services.chassis.wire import instant, value_of
from services.orchestrator.domain import predicate
from services.orchestrator.domain.decision import QuietHours, SendSpec
from services.orchestrator.domain.engine import Event, Run, RunState
from services.orchestrator.domain.journey import Branch, Condition, Exit, Journey, Send, Step, Wait
from services.orchestrator.domain.person import Person
from services.orchestrator.domain.predicate import Predicate

Body = dict[str, Any]

# Which identity a channel delivers to.
_ENDPOINTS = {
    "email": messaging_pb2.CHANNEL_EMAIL,
    "phone": messaging_pb2.CHANNEL_SMS,
    "push_token": messaging_pb2.CHANNEL_PUSH,
    "webhook_url": messaging_pb2.CHANNEL_WEBHOOK,
}


def timestamp(at: int) -> Timestamp | None:
    """The wire's instant; none for 0, which stands for an instant that hasn't come."""
    return shared.timestamp(at) if at else None


def person_of(profile: profile_pb2.Profile) -> Person:
    """The profile as deciding sees it. Of several endpoints of a channel the first is used."""
    endpoints: dict[int, str] = {}
    for identity in profile.identities:
        channel = _ENDPOINTS.get(identity.namespace)
        if channel is not None:
            endpoints.setdefault(channel, identity.value)
    return Person(
        profile.profile_id,
        endpoints,
        {name: value_of(attribute.value) for name, attribute in profile.attributes.items()},
        {(consent.channel, consent.topic): consent.state for consent in profile.consents},
        profile.time_zone,
        profile.locale,
        tuple(profile.merged_profile_ids),
        instant(profile.update_time),
    )


def predicate_of(wire: condition_pb2.AttributeCondition) -> Predicate:
    kind = wire.WhichOneof("test")
    name = wire.name
    if kind == "equals":
        return predicate.equals(name, value_of(wire.equals))
    if kind == "in":
        return predicate.is_in(name, tuple(value_of(value) for value in getattr(wire, "in").values))
    if kind == "contains":
        return predicate.contains(name, wire.contains)
    if kind == "starts_with":
        return predicate.starts_with(name, wire.starts_with)
    if kind == "exists":
        return predicate.exists(name, wire.exists)
    if kind == "number":
        return predicate.in_range(name, float, _number_range(wire.number))
    return predicate.in_range(name, int, _time_range(wire.time))


def _number_range(wire: condition_pb2.NumberRange) -> Callable[[Any], bool]:
    at_least = wire.at_least if wire.HasField("at_least") else float("-inf")
    at_most = wire.at_most if wire.HasField("at_most") else float("inf")
    above = wire.above if wire.HasField("above") else float("-inf")
    below = wire.below if wire.HasField("below") else float("inf")
    return lambda value: at_least <= value <= at_most and above < value < below


def _time_range(wire: condition_pb2.TimeRange) -> Callable[[Any], bool]:
    start = instant(wire.at_or_after) if wire.HasField("at_or_after") else 0
    end = instant(wire.before) if wire.HasField("before") else 1 << 62
    return lambda value: start <= value < end


def spec_of(wire: messaging_pb2.SendSpec, template_version: int) -> SendSpec:
    quiet = None
    if wire.HasField("quiet_hours"):
        quiet = QuietHours(_minutes(wire.quiet_hours.start), _minutes(wire.quiet_hours.end))
    return SendSpec(
        wire.channel,
        wire.template_id,
        template_version,
        wire.topic,
        wire.purpose,
        instant(wire.lifetime) if wire.HasField("lifetime") else DAY,
        wire.unknown_policy or messaging_pb2.UNKNOWN_POLICY_PARK,
        quiet,
    )


def _minutes(wall: str) -> int:
    hour, _, minute = wall.partition(":")
    return int(hour) * 60 + int(minute)


def steps_of(definition: journey_pb2.JourneyDefinition, template_versions: Mapping[str, int]) -> tuple[Step, ...]:
    """The steps; templates that aren't in `template_versions` have version 0."""
    return tuple(_step_of(step, template_versions) for step in definition.steps)


def _step_of(wire: journey_pb2.Step, template_versions: Mapping[str, int]) -> Step:
    kind = wire.WhichOneof("kind")
    if kind == "send":
        return Send(wire.id, wire.next, spec_of(wire.send, template_versions.get(wire.send.template_id, 0)))
    if kind == "wait":
        return Wait(wire.id, wire.next, instant(wire.wait.duration))
    if kind == "condition":
        branches = tuple(_branch_of(branch) for branch in wire.condition.branches)
        return Condition(wire.id, branches, wire.condition.otherwise)
    return Exit(wire.id, wire.exit.label)


def _branch_of(wire: journey_pb2.Branch) -> Branch:
    kind = wire.WhichOneof("when")
    return Branch(
        wire.next,
        wire.in_segment,
        predicate_of(wire.attribute) if kind == "attribute" else None,
        predicate_of(wire.event_property) if kind == "event_property" else None,
    )


def journey_of(workspace_id: str, journey_id: str, version: int, body: Body) -> Journey:
    """A published version, from the store."""
    definition = journey_pb2.JourneyDefinition.FromString(body["definition"])
    steps = steps_of(definition, body["template_versions"])
    entry = definition.entry
    return Journey(
        workspace_id,
        journey_id,
        version,
        entry.event_type,
        tuple(predicate_of(test) for test in entry.where),
        entry.reentry == journey_pb2.REENTRY_ONCE,
        instant(entry.max_event_age) if entry.HasField("max_event_age") else DAY,
        {step.id: step for step in steps},
        steps[0].id,
    )


def wire_journey(workspace_id: str, journey_id: str, body: Body) -> journey_pb2.Journey:
    return journey_pb2.Journey(
        workspace_id=workspace_id,
        journey_id=journey_id,
        definition=journey_pb2.JourneyDefinition.FromString(body["definition"]),
        version=body["version"],
        state=body["state"],
        etag=body["etag"],
        create_time=timestamp(body["created"]),
        update_time=timestamp(body["updated"]),
    )


def run_of(run_id: str, body: Body) -> Run:
    event = body["event"]
    return Run(
        run_id,
        body["profile"],
        Event(event[0], event[1], event[2]),
        body["step"],
        body["created"],
        RunState(body["state"]),
        body.get("wake_at") or 0,
        body["due_since"],
        body["visits"],
        body["ended"],
        body["end_reason"],
    )


def run_body(run: Run) -> Body:
    """What the engine knows of a run; where it belongs and what it owes is kept beside it."""
    return {
        "profile": run.profile_id,
        "event": [run.event.event_id, run.event.type, dict(run.event.properties)],
        "step": run.step_id,
        "created": run.created_at,
        "state": int(run.state),
        "wake_at": run.wake_at or None,
        "due_since": run.due_since,
        "visits": dict(run.visits),
        "ended": run.ended_at,
        "end_reason": run.end_reason,
    }


def erased_run(body: Body, now: int) -> Body:
    """What is left of a run when its person is erased: that there was one, by the ids that keep it from beginning
    again."""
    kept = {name: body[name] for name in ("journey", "version", "partition", "profile", "created")}
    return {
        **kept,
        "event": ["", "", {}],
        "step": "",
        "state": int(RunState.ERASED),
        "wake_at": None,
        "due_since": 0,
        "visits": {},
        "ended": body["ended"] or now,
        "end_reason": "",
        "sends": [],
        "owed": {},
        "unknown": {},
        "resends": 0,
        "resend_at": None,
    }


def wire_run(workspace_id: str, run_id: str, body: Body) -> journey_pb2.Run:
    return journey_pb2.Run(
        workspace_id=workspace_id,
        run_id=run_id,
        journey_id=body["journey"].partition("/")[2],
        journey_version=body["version"],
        profile_id=body["profile"],
        state=body["state"],
        step_id=body["step"],
        wake_time=timestamp(body.get("wake_at") or 0),
        create_time=timestamp(body["created"]),
        end_time=timestamp(body["ended"]),
        end_reason=body["end_reason"],
        sends=[
            journey_pb2.RunSend(send_id=send_id, step_id=step_id, outcome=outcome)
            for send_id, step_id, outcome in body["sends"]
        ],
    )
