"""`camino.profile.v1.OperationService`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camino.profile.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc

from services.chassis.clock import Clock
from services.chassis.engine import order, position, token
from services.chassis.errors import FailedPrecondition, InvalidPageToken, NotFound
from services.chassis.server import Mounted
from services.profile import convert, finding, normalise
from services.profile.domain.rules import Rules
from services.profile.finding import Standing
from services.profile.operations.convert import operation_of, wire_of
from services.profile.operations.erasing import new_erasure
from services.profile.operations.exporting import export_id, new_export
from services.profile.operations.exports import Exports
from services.profile.operations.operation import Kind, Operation, State
from services.profile.operations.running import Running
from services.profile.store import Store


class OperationServicer(operation_service_pb2_grpc.OperationServiceServicer):
    def __init__(
        self, store: Store, running: Running, exports: Exports, rules: Callable[[str], Rules], clock: Clock
    ) -> None:
        self._store = store
        self._running = running
        self._exports = exports
        self._rules = rules
        self._clock = clock

    async def EraseProfile(self, request: Any, context: object) -> operation_service_pb2.EraseProfileResponse:
        workspace_id = request.workspace_id
        place = await self._place(request)
        body = place.document.body if place.document else {}
        operation = None
        if known := body.get("erased") or body.get("erasing"):
            operation = await self._find(workspace_id, str(known))
        elif not convert.is_profile(body):
            raise NotFound.of("profile", place.profile_id)
        if operation is None:
            new = new_erasure(workspace_id, place.profile_id, self._clock.now())
            # With its mark: whatever comes in from now on is refused.
            operation = await self._running.begin(new, first_step=True)
        return operation_service_pb2.EraseProfileResponse(operation=wire_of(operation))

    async def ExportProfile(self, request: Any, context: object) -> operation_service_pb2.ExportProfileResponse:
        workspace_id = request.workspace_id
        operation = await self._find(workspace_id, export_id(workspace_id, request.request_id))
        if operation is None:
            place = await self._place(request)
            body = place.document.body if place.document else {}
            if not convert.is_profile(body):
                raise NotFound.of("profile", place.profile_id)
            finding.check_not_erased(body)
            new = new_export(workspace_id, place.profile_id, request.request_id, self._clock.now())
            operation = await self._running.begin(new, first_step=False)
        return operation_service_pb2.ExportProfileResponse(operation=wire_of(operation))

    async def GetOperation(self, request: Any, context: object) -> operation_service_pb2.GetOperationResponse:
        operation = await self._known(request)
        return operation_service_pb2.GetOperationResponse(operation=wire_of(operation))

    async def ListOperations(self, request: Any, context: object) -> operation_service_pb2.ListOperationsResponse:
        page = await self._store.operations.query(
            "by_workspace",
            request.workspace_id,
            limit=request.page_size or 100,
            after=request.page_token,
            descending=True,
        )
        operations: list[operation_pb2.Operation] = [wire_of(operation_of(document)) for document in page.documents]
        return operation_service_pb2.ListOperationsResponse(operations=operations, next_page_token=page.next)

    async def ReadExport(self, request: Any, context: object) -> operation_service_pb2.ReadExportResponse:
        operation = await self._known(request)
        readable = operation.state is State.DONE and self._clock.now() < operation.expires_at
        if operation.kind is not Kind.EXPORT or not readable:
            raise _not_readable(operation)
        parts = order("export", operation.workspace_id, operation.operation_id)
        told = str(position(parts, request.page_token, 1)[0]) if request.page_token else "0"
        if not told.isdecimal():
            raise InvalidPageToken
        number = int(told)
        part = await self._exports.read(operation, number)
        if part is None:
            raise _not_readable(operation)
        response = operation_service_pb2.ReadExportResponse(part=part)
        if number + 1 < operation.reading.parts:
            response.next_page_token = token(parts, [str(number + 1)])
        return response

    async def _place(self, request: Any) -> Standing:
        """What the id or identity that a request names means now. Raises `NotFound`."""
        workspace_id = request.workspace_id
        if request.WhichOneof("subject") == "profile_id":
            return (await finding.standing(self._store, workspace_id, [request.profile_id]))[request.profile_id]
        wire = request.identity
        identity = normalise.identity(wire.namespace, wire.value, "identity.value", self._rules(workspace_id))
        found = (await finding.by_identity(self._store, workspace_id, [identity])).get(identity)
        if found is None:
            raise NotFound(
                f"there is no profile with this {identity[0]!r} identity in this workspace",
                resource="profile",
                name=identity[0],
            )
        return Standing(found.id.partition("/")[2], found)

    async def _known(self, request: Any) -> Operation:
        """The operation that a request names. Raises `NotFound`."""
        operation = await self._find(request.workspace_id, request.operation_id)
        if operation is None:
            raise NotFound.of("operation", request.operation_id)
        return operation

    async def _find(self, workspace_id: str, operation_id: str) -> Operation | None:
        key = f"{workspace_id}/{operation_id}"
        found = (await self._store.operations.get([key])).get(key)
        return operation_of(found) if found else None


def _not_readable(operation: Operation) -> FailedPrecondition:
    return FailedPrecondition(
        f"operation {operation.operation_id!r} is an {operation.kind.name} that is {operation.state.name}: only an"
        " EXPORT that is DONE, for 7 days, can be read"
    )


def mounted(servicer: OperationServicer) -> Mounted:
    return Mounted(
        operation_service_pb2_grpc.add_OperationServiceServicer_to_server,
        servicer,
        "camino.profile.v1.OperationService",
    )
