"""`camino.ops.v1`: dead letters as tests put them there, and the deletion of workspaces."""

from __future__ import annotations

import re

from camino.errors.v1 import reason_pb2
from camino.ops.v1 import dead_letter_pb2, dead_letter_service_pb2, workspace_service_pb2
from camino.testing.fake.refusal import Refusal, not_found
from camino.testing.fake.world import World


class DeadLetters:
    """How redriving a letter ends is kept beside it, as the reply."""

    def __init__(self, world: World) -> None:
        self._world = world

    def RedriveDeadLetter(
        self, request: dead_letter_service_pb2.RedriveDeadLetterRequest
    ) -> dead_letter_service_pb2.RedriveDeadLetterResponse:
        id_ = request.dead_letter_id
        workspace_id = workspace_of(id_)
        letter = self._world.get(dead_letter_pb2.DeadLetter, workspace_id, id_)
        reply = self._world.get(dead_letter_service_pb2.RedriveDeadLetterResponse, workspace_id, id_)
        if letter is None or reply is None:
            raise not_found("dead letter", id_)
        if reply.handled:
            self._world.remove(dead_letter_pb2.DeadLetter, workspace_id, id_)
        else:
            again = dead_letter_pb2.DeadLetter()
            again.CopyFrom(letter)
            again.redrive_count += 1
            self._world.put(workspace_id, id_, again)
        return reply


def workspace_of(dead_letter_id: str) -> str:
    """A dead letter's id begins with its workspace."""
    return dead_letter_id.partition("/")[0]


class Workspaces:
    """`deletable` is a regular expression for the whole id of those that may be deleted."""

    def __init__(self, world: World, deletable: str) -> None:
        self._world = world
        self._deletable = re.compile(deletable)

    def DeleteWorkspace(
        self, request: workspace_service_pb2.DeleteWorkspaceRequest
    ) -> workspace_service_pb2.DeleteWorkspaceResponse:
        if not self._deletable.fullmatch(request.workspace_id):
            message = (
                f"workspace {request.workspace_id!r} is protected: only those that match {self._deletable.pattern!r}"
            )
            raise Refusal(
                reason_pb2.REASON_WORKSPACE_PROTECTED, f"{message} can be deleted", workspace_id=request.workspace_id
            )
        deleted = self._world.delete(request.workspace_id)
        return workspace_service_pb2.DeleteWorkspaceResponse(deleted_documents=deleted)
