"""What came of calls, in a form in which two servers' answers can be compared."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from camino.client import CaminoError, from_rpc_error
from camino.profile.v1 import operation_pb2
from camino.testing.rpcs import Rpc, rpcs
from google.protobuf.json_format import MessageToDict, ParseDict

from services.chassis.testing import eventually
from tests.integration.fake_scenes import Scene

# What each has for itself: when it was done, how far a computation in the background is, places, and secrets.
_OWN = {"etag", "computed_count", "profile_count", "serving_version", "members_complete", "cursor", "secret"}
_COMPUTATION = "SEGMENT_STATE_"
_PLACES = {"ops": "profile"}
# An operation takes its time, which the fake doesn't need; and it finds facts on the broker, which the fake hasn't.
_OF_OPERATIONS = {"create_time", "end_time", "expire_time", "done_time", "facts"}
_COMING = {"state", "receipts"}
_RUNNING = operation_pb2.OPERATION_STATE_RUNNING
_IDS = {"profile_id": "profile", "other_profile_id": "profile", "operation_id": "operation"}


class Transcript:
    """Makes calls in a workspace of its own, and writes down what came of them: ids by the order in which they were
    first seen."""

    def __init__(self, addresses: Mapping[str, str], workspace_id: str, pass_time: Callable[[], object]) -> None:
        self._addresses = addresses
        self._workspace_id = workspace_id
        self._pass_time = pass_time
        self._ids: dict[str, str] = {}

    async def play(self, scene: Scene) -> list[Any]:
        return [await self._line(name, request) for name, request in scene]

    async def _line(self, name: str, request: dict[str, Any]) -> Any:
        [rpc] = [rpc for rpc in rpcs() if rpc.name == name]
        package = rpc.service.split(".")[1]
        address = self._addresses[_PLACES.get(package, package)]
        async with grpc.aio.insecure_channel(address) as channel:
            kind = channel.unary_stream if rpc.telling else channel.unary_unary
            method = kind(
                rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.reply.FromString
            )

            async def ended() -> Any:
                call = method(self._request(rpc, request), timeout=10)
                reply = await (_told_at_first(rpc, call) if rpc.telling else call)
                if rpc.method != "GetOperation" or reply.operation.state != _RUNNING:
                    return reply
                self._pass_time()
                return None

            try:
                reply = await eventually(ended)
            except grpc.aio.AioRpcError as error:
                return name, self._failure(from_rpc_error(error))
        told = self._told(MessageToDict(reply, preserving_proto_field_name=True))
        if rpc.method in ("EraseProfile", "ExportProfile"):
            told["operation"] = {field: value for field, value in told["operation"].items() if field not in _COMING}
        # What has no order, and of a timeline what is at the same instant.
        told.get("owners", []).sort(key=repr)
        told.get("operations", []).sort(key=repr)
        told.get("entries", []).sort(key=lambda entry: (entry["at"], repr(entry)))
        if "part" in told:
            told["part"] = self._export(told["part"])
        return name, told

    def _failure(self, error: CaminoError) -> Any:
        fields = [violation.field for violation in error.violations]
        metadata = {key: self._ids.get(it, it) for key, it in error.metadata.items() if key != "current_etag"}
        return error.status.name, error.reason, fields, metadata

    def _export(self, part: str) -> Any:
        """What an export of one part says, with ids as they're known."""
        text = base64.b64decode(part).decode()
        for id_, told in self._ids.items():
            text = text.replace(id_, told)
        document = json.loads(text)
        document["profile_service"]["timeline"].sort(key=repr)
        return document

    def _named(self, id_: str, kind: str) -> str:
        number = sum(told.startswith(kind) for told in self._ids.values()) + 1
        return self._ids.setdefault(id_, f"{kind} {number}")

    def _request(self, rpc: Rpc, request: dict[str, Any]) -> Any:
        known = {told: id_ for id_, told in self._ids.items()}
        has = {"workspace_id": self._workspace_id} if rpc.has("workspace_id") else {}
        return ParseDict({**has, **_filled(request, known)}, rpc.request())

    def _told(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._told(item) for item in value]
        if not isinstance(value, dict):
            return value
        told = {
            name: self._told(item)
            for name, item in value.items()
            if name not in _OWN and not str(item).startswith(_COMPUTATION)
        }
        for field, kind in _IDS.items():
            if id_ := told.get(field):
                told[field] = self._named(id_, kind)
        if merged := told.get("merged_profile_ids"):
            told["merged_profile_ids"] = [self._named(id_, "profile") for id_ in merged]
        if merged := told.get("merged_into"):
            told["merged_into"] = {
                self._named(id_, "profile"): self._named(to, "profile") for id_, to in merged.items()
            }
        if "operation_id" in told or "service" in told:
            told = {field: value for field, value in told.items() if field not in _OF_OPERATIONS}
        if "service" in told:
            told["counts"] = {
                kind: count for kind, count in told.get("counts", {}).items() if kind not in _OF_OPERATIONS
            }
        if error := told.get("error"):
            del error["message"]
        return told


async def _told_at_first(rpc: Rpc, call: Any) -> Any:
    """All responses until there is a cursor, as one."""
    whole: Any = rpc.reply()
    while not whole.cursor:
        whole.MergeFrom(await call.read())
    call.cancel()
    return whole


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    return known.get(value, value) if isinstance(value, str) else value
