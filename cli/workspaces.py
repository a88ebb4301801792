"""`camino workspaces`: workspaces of tests and trials, and how to be rid of them."""

from __future__ import annotations

import time
from typing import Annotated

import grpc
import typer
from camino.ops.v1.workspace_service_pb2 import DeleteWorkspaceRequest, DeleteWorkspaceResponse
from camino.ops.v1.workspace_service_pb2_grpc import WorkspaceServiceStub

from cli import output
from cli.targets import Targets

_SERVICES = ("orchestrator", "channels", "segment", "profile")
"""From who decides to who tells of people: so that little comes after what is gone already."""

_ROUNDS = 50
_CALL_S = 60.0
_PAUSE_S = 0.2
"""What is under way between services arrives meanwhile."""


def delete(
    targets: Targets,
    name: Annotated[str, typer.Argument(help="The workspace.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Delete everything of a workspace from all services, for good.

    Only a workspace whose name matches the services' setting CAMINO_DELETABLE_WORKSPACES.
    """
    if not yes:
        typer.confirm(f"Delete everything of workspace {name}, for good?", abort=True)
    deleted = {service: DeleteWorkspaceResponse() for service in _SERVICES}
    try:
        for _ in range(_ROUNDS):
            if not _delete_once(targets, name, deleted):
                return
            time.sleep(_PAUSE_S)
    finally:
        rows = [(service, sums.deleted_documents, sums.deleted_facts) for service, sums in deleted.items()]
        output.table(f"deleted of {name}", ("service", "documents", "facts"), rows)
    output.complain("there is always more: stop what sends to it, and delete it again")
    raise typer.Exit(1)


def _delete_once(targets: Targets, name: str, deleted: dict[str, DeleteWorkspaceResponse]) -> bool:
    """Delete what there is in each service. Whether there may be more."""
    more = False
    for service, sums in deleted.items():
        stub = WorkspaceServiceStub(targets.channel(service))
        try:
            answer = stub.DeleteWorkspace(DeleteWorkspaceRequest(workspace_id=name), timeout=_CALL_S)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            # A large one takes several calls. What this one did is done, though it didn't come to say how much.
            more = True
            continue
        sums.deleted_documents += answer.deleted_documents
        sums.deleted_facts += answer.deleted_facts
        more = more or bool(answer.deleted_documents or answer.deleted_facts)
    return more
