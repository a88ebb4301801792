"""`camino.ops.v1` on every service: its dead letters, and what it holds of a workspace."""

from __future__ import annotations

from collections.abc import Callable

from camino.ops.v1 import (
    dead_letter_pb2,
    dead_letter_service_pb2,
    dead_letter_service_pb2_grpc,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)

from services.chassis.app import Resources
from services.chassis.dead_letters import DeadLetters
from services.chassis.server import Mounted
from services.chassis.wire import timestamp
from services.chassis.workspaces import Workspaces


class DeadLetterServicer(dead_letter_service_pb2_grpc.DeadLetterServiceServicer):
    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters

    async def ListDeadLetters(
        self, request: dead_letter_service_pb2.ListDeadLettersRequest, context: object
    ) -> dead_letter_service_pb2.ListDeadLettersResponse:
        page, total = await self._dead_letters.list(request.page_size or 100, request.page_token)
        return dead_letter_service_pb2.ListDeadLettersResponse(
            dead_letters=[
                dead_letter_pb2.DeadLetter(
                    dead_letter_id=letter.id,
                    consumer=letter.body["consumer"],
                    subject=letter.body["subject"],
                    reason=letter.body["reason"],
                    create_time=timestamp(letter.body["at"]),
                    redrive_count=letter.body["redrives"],
                )
                for letter in page.documents
            ],
            next_page_token=page.next,
            total_size=total,
        )

    async def RedriveDeadLetter(
        self, request: dead_letter_service_pb2.RedriveDeadLetterRequest, context: object
    ) -> dead_letter_service_pb2.RedriveDeadLetterResponse:
        reason = await self._dead_letters.redrive(request.dead_letter_id)
        return dead_letter_service_pb2.RedriveDeadLetterResponse(handled=not reason, reason=reason)


class WorkspaceServicer(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    def __init__(self, workspaces: Workspaces, forget: Callable[[str], None]) -> None:
        self._workspaces = workspaces
        self._forget = forget

    async def DeleteWorkspace(
        self, request: workspace_service_pb2.DeleteWorkspaceRequest, context: object
    ) -> workspace_service_pb2.DeleteWorkspaceResponse:
        deleted = await self._workspaces.delete(request.workspace_id, self._forget)
        return workspace_service_pb2.DeleteWorkspaceResponse(
            deleted_documents=deleted.documents, deleted_facts=deleted.facts
        )


def mounted(resources: Resources, *, forget: Callable[[str], None] = lambda workspace_id: None) -> tuple[Mounted, ...]:
    """`forget` lets go of what the service remembers of a workspace, which is being deleted."""
    return (
        Mounted(
            dead_letter_service_pb2_grpc.add_DeadLetterServiceServicer_to_server,
            DeadLetterServicer(resources.dead_letters),
            "camino.ops.v1.DeadLetterService",
        ),
        Mounted(
            workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server,
            WorkspaceServicer(resources.workspaces, forget),
            "camino.ops.v1.WorkspaceService",
        ),
    )
