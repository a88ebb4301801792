"""What exports have gathered, until their time is over or the profile is erased."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import operation_pb2
from camino.profile.v1 import operation_service_pb2 as pb
from camino.testing.fake.pages import page
from camino.testing.fake.refusal import Refusal
from camino.testing.fake.values import DAY, instant, timestamp
from camino.testing.fake.world import World

_READABLE = 7 * DAY
_PART_BYTES = 256 * 1024
_DONE = operation_pb2.OPERATION_STATE_DONE
_EXPIRED = operation_pb2.OPERATION_STATE_EXPIRED


class Exports:
    def __init__(self, world: World) -> None:
        self._world = world

    def keep(self, operation: operation_pb2.Operation, gathered: dict[str, Any]) -> None:
        """Keep what an export has gathered, and the export as done."""
        operation.expire_time.CopyFrom(timestamp(self._world.now() + _READABLE))
        document = json.dumps(gathered, ensure_ascii=False).encode()
        self._world.put(operation.workspace_id, operation.operation_id, operation)
        self._world.put(operation.workspace_id, operation.operation_id, pb.ReadExportResponse(part=document))

    def part(self, operation: operation_pb2.Operation, request: pb.ReadExportRequest) -> pb.ReadExportResponse:
        """The part that is asked for. Raises `Refusal` (WRONG_STATE) if there is nothing to read."""
        gathered = self._world.get(pb.ReadExportResponse, operation.workspace_id, operation.operation_id)
        if gathered is None:
            state = operation_pb2.OperationState.Name(operation.state)
            message = f"only an export that is done can be read, for 7 days; this operation is {state}"
            raise Refusal(reason_pb2.REASON_WRONG_STATE, message)
        starts = range(0, len(gathered.part), _PART_BYTES)
        parts = (((start, ""), gathered.part[start : start + _PART_BYTES]) for start in starts)
        [part], token = page(request, parts, size=1)
        return pb.ReadExportResponse(part=part, next_page_token=token)

    def expire(self, workspace_id: str) -> None:
        """Let those go whose time is over."""
        now = self._world.now()
        for operation in list(self._readable(workspace_id)):
            if instant(operation.expire_time) <= now:
                self._expire(operation)

    def expire_of(self, workspace_id: str, profile_ids: Container[str]) -> int:
        """Let those of a person go. How many there were."""
        theirs = [operation for operation in self._readable(workspace_id) if operation.profile_id in profile_ids]
        for operation in theirs:
            self._expire(operation)
        return len(theirs)

    def _readable(self, workspace_id: str) -> Iterator[operation_pb2.Operation]:
        for _, operation in self._world.all(operation_pb2.Operation, workspace_id):
            if operation.kind == operation_pb2.OPERATION_KIND_EXPORT and operation.state == _DONE:
                yield operation

    def _expire(self, operation: operation_pb2.Operation) -> None:
        expired = operation_pb2.Operation()
        expired.CopyFrom(operation)
        expired.state = _EXPIRED
        self._world.put(operation.workspace_id, operation.operation_id, expired)
        self._world.remove(pb.ReadExportResponse, operation.workspace_id, operation.operation_id)
