"""`camino.ops.v1.PersonalDataService` of all services: what they hold on a person, besides the profile itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from camino.channels.v1 import message_pb2
from camino.ops.v1 import personal_data_service_pb2 as pb
from camino.orchestrator.v1 import decision_pb2, journey_pb2
from camino.segment.v1 import segment_pb2
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.testing.fake.pages import page
from camino.testing.fake.transitions import Transitions
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

HELD: Mapping[str, Mapping[str, type[Message]]] = {
    "orchestrator": {"runs": journey_pb2.Run, "decisions": decision_pb2.Decision},
    "segment": {"memberships": segment_pb2.Membership, "transitions": MembershipChanged},
    "channels": {"messages": message_pb2.Message},
}
"""What each service holds on people, by kind."""


class PersonalData:
    def __init__(self, world: World, transitions: Transitions) -> None:
        self._world = world
        self._transitions = transitions

    def ErasePersonalData(self, request: pb.ErasePersonalDataRequest) -> pb.ErasePersonalDataResponse:
        counts = dict[str, int]()
        for service in HELD:
            counts.update(self.erase(service, request.workspace_id, request.profile_ids))
        return pb.ErasePersonalDataResponse(counts=counts)

    def ListPersonalData(self, request: pb.ListPersonalDataRequest) -> pb.ListPersonalDataResponse:
        kinds = [(service, kind) for service, held in HELD.items() for kind in held]
        records = (
            ((place, id_), pb.PersonalRecord(kind=kind, json=MessageToJson(resource, indent=None)))
            for place, (service, kind) in enumerate(kinds)
            for id_, resource in self.of(service, kind, request.workspace_id, request.profile_ids)
        )
        chosen, token = page(request, records)
        return pb.ListPersonalDataResponse(records=chosen, next_page_token=token)

    def of(self, service: str, kind: str, workspace_id: str, profile_ids: Collection[str]) -> Iterator[tuple[str, Any]]:
        """The things of a kind that a service holds on a person, by their ids."""
        if HELD[service][kind] is MembershipChanged:
            yield from self._transitions.history(workspace_id, profile_ids)
            return
        for id_, resource in self._world.all(HELD[service][kind], workspace_id):
            found: Any = resource
            erased = isinstance(resource, journey_pb2.Run) and resource.state == journey_pb2.RUN_STATE_ERASED
            if found.profile_id in profile_ids and not erased:
                yield id_, found

    def erase(self, service: str, workspace_id: str, profile_ids: Collection[str]) -> dict[str, int]:
        """Erase what a service holds on a person. How much there was of each kind that there was anything of."""
        counts = dict[str, int]()
        if service == "segment":
            self._transitions.leave(workspace_id, profile_ids)
        for kind in HELD[service]:
            for id_, resource in list(self.of(service, kind, workspace_id, profile_ids)):
                counts[kind] = counts.get(kind, 0) + 1
                if isinstance(resource, journey_pb2.Run):
                    self._world.put(workspace_id, id_, self._erased(resource))
                else:
                    self._world.remove(type(resource), workspace_id, id_)
        return counts

    def _erased(self, run: journey_pb2.Run) -> journey_pb2.Run:
        """All that is still known of a run whose person was erased."""
        return journey_pb2.Run(
            workspace_id=run.workspace_id,
            run_id=run.run_id,
            journey_id=run.journey_id,
            journey_version=run.journey_version,
            profile_id=run.profile_id,
            state=journey_pb2.RUN_STATE_ERASED,
            create_time=run.create_time,
            end_time=run.end_time if run.HasField("end_time") else timestamp(self._world.now()),
        )
