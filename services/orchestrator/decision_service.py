"""`camino.orchestrator.v1.DecisionService`."""

from __future__ import annotations

from typing import Any

from camino.orchestrator.v1 import decision_service_pb2, decision_service_pb2_grpc

from services.chassis.server import Mounted
from services.orchestrator import decisions
from services.orchestrator.clients import Profiles
from services.orchestrator.decision_history import newest_first
from services.orchestrator.store import Store


class DecisionServicer(decision_service_pb2_grpc.DecisionServiceServicer):  # type: ignore[misc]
    def __init__(self, store: Store, profiles: Profiles) -> None:
        self._store = store
        self._profiles = profiles

    async def ListDecisions(self, request: Any, context: object) -> decision_service_pb2.ListDecisionsResponse:
        people = await self._profiles.get(request.workspace_id, [request.profile_id])
        person = people.get(request.profile_id)
        asked = f"{request.workspace_id}/{request.profile_id}"
        found, next_page_token = await newest_first(
            self._store.decisions,
            [f"{request.workspace_id}/{id_}" for id_ in person.ids] if person else [asked],
            asked,
            request.page_size or 100,
            request.page_token,
        )
        return decision_service_pb2.ListDecisionsResponse(
            decisions=[decisions.wire(document) for document in found], next_page_token=next_page_token
        )


def mounted(servicer: DecisionServicer) -> Mounted:
    return Mounted(
        decision_service_pb2_grpc.add_DecisionServiceServicer_to_server,
        servicer,
        "camino.orchestrator.v1.DecisionService",
    )
