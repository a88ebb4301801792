"""`camino.profile.v1.OperationService`: erasing people, and gathering what is held on them. It is done at once."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from camino.profile.v1 import operation_pb2, profile_pb2
from camino.profile.v1 import operation_service_pb2 as pb
from camino.testing.fake.exports import Exports
from camino.testing.fake.histories import Histories, ids_of
from camino.testing.fake.methods import method
from camino.testing.fake.personal_data import HELD, PersonalData
from camino.testing.fake.reading import getting, listing
from camino.testing.fake.refusal import not_found
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

_SERVICE = "camino.profile.v1.OperationService"


class Rights(Histories):
    def __init__(self, world: World, held: PersonalData) -> None:
        super().__init__(world)
        self._held = held
        self._exports = Exports(world)

    def EraseProfile(self, request: pb.EraseProfileRequest) -> pb.EraseProfileResponse:
        workspace_id = request.workspace_id
        erased_by = self._world.ledger(workspace_id).erased_by(request.profile_id)
        operation = self._operation(workspace_id, erased_by)
        if operation is None:
            profile = self._named(request)
            operation = self._done(operation_pb2.OPERATION_KIND_ERASE, profile, self._world.new_id())
            for service in HELD:
                self._receipt(operation, service, self._held.erase(service, workspace_id, ids_of(profile)))
            self._receipt(operation, "profile", self._erase(profile, operation.operation_id))
            self._world.put(workspace_id, operation.operation_id, operation)
        return pb.EraseProfileResponse(operation=operation)

    def ExportProfile(self, request: pb.ExportProfileRequest) -> pb.ExportProfileResponse:
        self._exports.expire(request.workspace_id)
        operation_id = sha256(request.request_id.encode()).hexdigest()[:32]
        operation = self._operation(request.workspace_id, operation_id)
        if operation is None:
            profile = self._named(request)
            operation = self._done(operation_pb2.OPERATION_KIND_EXPORT, profile, operation_id)
            self._exports.keep(operation, self._gathered(profile, operation))
        return pb.ExportProfileResponse(operation=operation)

    def GetOperation(self, request: pb.GetOperationRequest) -> pb.GetOperationResponse:
        self._exports.expire(request.workspace_id)
        reply: Any = getting(self._world, method(f"{_SERVICE}/GetOperation"), request)
        return pb.GetOperationResponse(operation=reply.operation)

    def ListOperations(self, request: pb.ListOperationsRequest) -> pb.ListOperationsResponse:
        self._exports.expire(request.workspace_id)
        reply: pb.ListOperationsResponse = listing(self._world, method(f"{_SERVICE}/ListOperations"), request)
        return reply

    def ReadExport(self, request: pb.ReadExportRequest) -> pb.ReadExportResponse:
        self._exports.expire(request.workspace_id)
        operation = self._operation(request.workspace_id, request.operation_id)
        if operation is None:
            raise not_found("operation", request.operation_id)
        return self._exports.part(operation, request)

    def _operation(self, workspace_id: str, operation_id: str) -> operation_pb2.Operation | None:
        return self._world.get(operation_pb2.Operation, workspace_id, operation_id)

    def _done(
        self, kind: operation_pb2.OperationKind, profile: profile_pb2.Profile, operation_id: str
    ) -> operation_pb2.Operation:
        now = timestamp(self._world.now())
        return operation_pb2.Operation(
            workspace_id=profile.workspace_id,
            operation_id=operation_id,
            kind=kind,
            profile_id=profile.profile_id,
            state=operation_pb2.OPERATION_STATE_DONE,
            create_time=now,
            end_time=now,
        )

    def _receipt(self, operation: operation_pb2.Operation, service: str, counts: Mapping[str, int]) -> None:
        some = {kind: count for kind, count in counts.items() if count}
        operation.receipts.add(service=service, counts=some, done_time=timestamp(self._world.now()))

    def _erase(self, profile: profile_pb2.Profile, operation_id: str) -> Mapping[str, int]:
        """Erase the profile service's own part. How much there was of each kind."""
        workspace_id, ids = profile.workspace_id, ids_of(profile)
        ledger = self._world.ledger(workspace_id)
        events = list(self._events(profile))
        for event in events:
            self._world.remove(profile_pb2.Event, workspace_id, event.event_id)
        records = len(list(ledger.timeline.of(ids)))
        ledger.erase(profile.profile_id, operation_id)
        return {
            "exports": self._exports.expire_of(workspace_id, ids),
            "events": len(events),
            "records": records,
            "identities": len(profile.identities),
            "profiles": len(ids),
        }

    def _gathered(self, profile: profile_pb2.Profile, operation: operation_pb2.Operation) -> dict[str, Any]:
        """All that the services hold on a person, by service and kind."""
        workspace_id, ids = profile.workspace_id, ids_of(profile)
        document = {
            "workspace_id": workspace_id,
            "profile_id": profile.profile_id,
            "exported_at": operation.create_time.ToJsonString(),
            "profile": MessageToDict(profile),
        }
        for service, held in HELD.items():
            things = {
                kind: [MessageToDict(it) for _, it in self._held.of(service, kind, workspace_id, ids)] for kind in held
            }
            document[service] = {kind: some for kind, some in things.items() if some}
            self._receipt(operation, service, {kind: len(some) for kind, some in things.items()})
        own: dict[str, list[Message]] = {
            "identity_graph": [self._graph(profile)],
            "events": list(self._events(profile)),
            "timeline": [entry for _, entry in self._world.ledger(workspace_id).timeline.of(ids)],
        }
        document["profile_service"] = {kind: [MessageToDict(it) for it in some] for kind, some in own.items() if some}
        self._receipt(operation, "profile", {kind: len(some) for kind, some in own.items()})
        return document
