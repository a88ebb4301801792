"""Erasures and exports as they go on: whom they're about, and waiting for them with what is told of them meanwhile."""

from __future__ import annotations

import time
from typing import Any

import typer
from camino.profile.v1.operation_pb2 import OPERATION_STATE_RUNNING, Operation, Receipt
from camino.profile.v1.operation_service_pb2 import GetOperationRequest
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub

from cli import output, values
from cli.targets import Targets

_LOOK_S = 0.3


def subject(profile: str, identity: str) -> dict[str, Any]:
    """Whom a request is about, as its fields. Raises `typer.BadParameter`."""
    if bool(profile) == bool(identity):
        raise typer.BadParameter("name the person by namespace:value, or by --profile ID")
    if profile:
        return {"profile_id": profile}
    try:
        return {"identity": values.identity(identity)}
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def waited_for(targets: Targets, operation: Operation) -> Operation:
    """The operation when it has ended. Tells of each service that is done, and of what is in the way."""
    stub = OperationServiceStub(targets.channel("profile"))
    request = GetOperationRequest(workspace_id=targets.workspace, operation_id=operation.operation_id)
    shown, obstacle = 0, ""
    while True:
        for receipt in operation.receipts[shown:]:
            output.say(line(receipt))
        # Fewer than were shown, when it had to begin anew.
        shown = len(operation.receipts)
        if operation.obstacle not in ("", obstacle):
            output.complain(f"waiting: {operation.obstacle}")
        obstacle = operation.obstacle
        if operation.state != OPERATION_STATE_RUNNING:
            return operation
        time.sleep(_LOOK_S)
        operation = stub.GetOperation(request).operation


def line(receipt: Receipt) -> str:
    """What a service says that it did."""
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(receipt.counts.items()))
    return f"{receipt.service}: {counts or 'nothing'}"
