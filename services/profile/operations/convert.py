"""Operations between the wire, the domain and the store."""

from __future__ import annotations

from camino.profile.v1 import operation_pb2

from services.chassis.documents import Document
from services.chassis.ids import partition_of
from services.chassis.wire import set_instant
from services.profile.convert import Body
from services.profile.operations.operation import Kind, Operation, Reading, Receipt, State


def key_of(operation: Operation) -> str:
    return f"{operation.workspace_id}/{operation.operation_id}"


def body_of(operation: Operation, partitions: int) -> Body:
    """What is stored of an operation."""
    reading = operation.reading
    body: Body = {
        "workspace": operation.workspace_id,
        "created": operation.created_at,
        "profile": f"{operation.workspace_id}/{operation.profile_id}",
        "partition": partition_of(operation.operation_id, partitions),
        "kind": int(operation.kind),
        "state": int(operation.state),
        "receipts": [[one.service, dict(one.counts), one.done_at] for one in operation.receipts],
        "ended": operation.ended_at,
        "expires": operation.expires_at,
        "obstacle": operation.obstacle,
        "failures": operation.failures,
        "merged": list(operation.merged),
        "marked": operation.marked_at,
        "stage": operation.stage,
        "counts": dict(operation.counts),
        "reading": [list(reading.profile_ids), reading.kind, reading.begun, reading.after, reading.parts],
    }
    if operation.due_at is not None:
        body["due_at"] = operation.due_at
    if operation.state is State.RUNNING:
        body["running"] = int(operation.kind)
    return body


def operation_of(document: Document) -> Operation:
    body = document.body
    workspace_id, _, operation_id = document.id.partition("/")
    profile_ids, kind, begun, after, parts = body["reading"]
    return Operation(
        workspace_id,
        operation_id,
        Kind(body["kind"]),
        body["profile"].partition("/")[2],
        body["created"],
        body.get("due_at"),
        State(body["state"]),
        tuple(Receipt(service, counts, at) for service, counts, at in body["receipts"]),
        body["ended"],
        body["expires"],
        body["obstacle"],
        body["failures"],
        tuple(body["merged"]),
        body["marked"],
        body["stage"],
        body["counts"],
        Reading(tuple(profile_ids), kind, begun, after, parts),
    )


def wire_of(operation: Operation) -> operation_pb2.Operation:
    wire = operation_pb2.Operation(
        workspace_id=operation.workspace_id,
        operation_id=operation.operation_id,
        kind=operation_pb2.OperationKind.Name(operation.kind),
        profile_id=operation.profile_id,
        state=operation_pb2.OperationState.Name(operation.state),
        obstacle=operation.obstacle,
    )
    set_instant(wire.create_time, operation.created_at)
    for receipt in operation.receipts:
        shown = wire.receipts.add(service=receipt.service, counts=receipt.counts)
        set_instant(shown.done_time, receipt.done_at)
    if operation.ended_at:
        set_instant(wire.end_time, operation.ended_at)
    if operation.expires_at:
        set_instant(wire.expire_time, operation.expires_at)
    return wire
