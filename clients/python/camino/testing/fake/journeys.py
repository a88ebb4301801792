"""`camino.orchestrator.v1.JourneyService`: journeys, and the runs that events begin. A run stays at its first step."""

from __future__ import annotations

import uuid

from camino.errors.v1 import reason_pb2
from camino.orchestrator.v1 import journey_pb2
from camino.orchestrator.v1 import journey_service_pb2 as pb
from camino.profile.v1 import profile_pb2
from camino.testing.fake import graphs
from camino.testing.fake.conditions import holds
from camino.testing.fake.publishing import published
from camino.testing.fake.references import References
from camino.testing.fake.refusal import invalid, not_found
from camino.testing.fake.values import DAY, instant, timestamp, values_of
from camino.testing.fake.world import World

_RUNS = uuid.UUID("3f1c6a52-8f0e-5b0a-9c57-2d9be2e4a0f6")


class Journeys:
    def __init__(self, world: World) -> None:
        self._world = world

    def PublishJourney(self, request: pb.PublishJourneyRequest) -> pb.PublishJourneyResponse:
        uses = References(self._world, request.workspace_id)
        versions = dict[str, int]()
        uses.violations.extend(graphs.violations(request.definition.steps))
        for number, step in enumerate(request.definition.steps):
            where = f"definition.steps[{number}]"
            if step.HasField("send"):
                versions[step.send.template_id] = uses.template(step.send, f"{where}.send")
            for branch_number, branch in enumerate(step.condition.branches):
                if branch.in_segment:
                    uses.segment(branch.in_segment, f"{where}.condition.branches[{branch_number}].in_segment")
        if uses.violations:
            raise invalid(uses.violations, reason_pb2.REASON_INVALID_DEFINITION)
        journey = published(self._world, journey_pb2.Journey, request, sorted(versions.items()))
        if journey:
            journey.state = journey.state or journey_pb2.JOURNEY_STATE_ACTIVE
            self._world.put(request.workspace_id, request.journey_id, journey)
        return pb.PublishJourneyResponse(journey=self._known(request.workspace_id, request.journey_id))

    def SetJourneyState(self, request: pb.SetJourneyStateRequest) -> pb.SetJourneyStateResponse:
        journey = self._known(request.workspace_id, request.journey_id)
        if journey.state != request.state:
            changed = journey_pb2.Journey()
            changed.CopyFrom(journey)
            changed.state = request.state
            changed.update_time.CopyFrom(timestamp(self._world.now()))
            self._world.put(request.workspace_id, request.journey_id, changed)
            journey = changed
        return pb.SetJourneyStateResponse(journey=journey)

    def trigger(self, event: profile_pb2.Event) -> None:
        """Begin a run of each journey that the event triggers."""
        now = self._world.now()
        for journey_id, journey in self._world.all(journey_pb2.Journey, event.workspace_id):
            if not _takes(journey, event, now):
                continue
            once = journey.definition.entry.reentry == journey_pb2.REENTRY_ONCE
            entry = event.profile_id if once else f"{event.profile_id}/{event.event_id}"
            run_id = str(uuid.uuid5(_RUNS, f"{event.workspace_id}/{journey_id}/{entry}"))
            if self._world.get(journey_pb2.Run, event.workspace_id, run_id):
                continue
            run = journey_pb2.Run(
                workspace_id=event.workspace_id,
                run_id=run_id,
                journey_id=journey_id,
                journey_version=journey.version,
                profile_id=event.profile_id,
                state=journey_pb2.RUN_STATE_ACTIVE,
                step_id=journey.definition.steps[0].id,
                create_time=timestamp(now),
            )
            self._world.put(event.workspace_id, run_id, run)

    def _known(self, workspace_id: str, journey_id: str) -> journey_pb2.Journey:
        found = self._world.get(journey_pb2.Journey, workspace_id, journey_id)
        if found is None:
            raise not_found("journey", journey_id)
        return found


def _takes(journey: journey_pb2.Journey, event: profile_pb2.Event, now: int) -> bool:
    entry = journey.definition.entry
    if journey.state == journey_pb2.JOURNEY_STATE_CLOSED or entry.event_type != event.type:
        return False
    oldest = instant(entry.max_event_age) if entry.HasField("max_event_age") else DAY
    properties = values_of(event.properties)
    return now - instant(event.occurred_at) <= oldest and all(holds(test, properties) for test in entry.where)
