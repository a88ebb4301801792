"""`camino.orchestrator.v1.DecisionService`."""

from __future__ import annotations

from typing import Any

from camino.orchestrator.v1 import decision_service_pb2, decision_service_pb2_grpc

from services.chassis.server import Mounted
from services.orchestrator import decisions
from services.orchestrator.store import Store


class DecisionServicer(decision_service_pb2_grpc.DecisionServiceServicer):  # type: ignore[misc]
    def __init__(self, store: Store) -> None:
        self._store = store

    async def ListDecisions(self, request: Any, context: object) -> decision_service_pb2.ListDecisionsResponse:
        page = await self._store.decisions.query(
            "by_profile",
            f"{request.workspace_id}/{request.profile_id}",
            limit=request.page_size or 100,
            after=request.page_token,
            descending=True,
        )
        return decision_service_pb2.ListDecisionsResponse(
            decisions=[decisions.wire(document) for document in page.documents], next_page_token=page.next
        )


def mounted(servicer: DecisionServicer) -> Mounted:
    return Mounted(
        decision_service_pb2_grpc.add_DecisionServiceServicer_to_server,
        servicer,
        "camino.orchestrator.v1.DecisionService",
    )
