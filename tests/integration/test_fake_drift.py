"""The fake answers as the services do: the same calls of both, and the same replies but for their words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from camino.client import CaminoError, from_rpc_error
from camino.testing.fake import FakeCamino
from camino.testing.rpcs import Rpc, rpcs
from google.protobuf.json_format import MessageToDict, ParseDict

from tests.house import house
from tests.integration.fake_scenes import SCENES, Scene

# What each has for itself: when it was done, and how far a computation in the background is.
_OWN = {"etag", "computed_count"}
_COMPUTATION = "SEGMENT_STATE_"
_PLACES = {"ops": "profile"}


class Transcript:
    """Makes calls in a workspace of its own, and writes down what came of them: ids by the order in which they were
    first seen."""

    def __init__(self, addresses: Mapping[str, str], workspace_id: str) -> None:
        self._addresses = addresses
        self._workspace_id = workspace_id
        self._ids: dict[str, str] = {}

    async def play(self, scene: Scene) -> list[Any]:
        return [await self._line(name, request) for name, request in scene]

    async def _line(self, name: str, request: dict[str, Any]) -> Any:
        [rpc] = [rpc for rpc in rpcs() if rpc.name == name]
        package = rpc.service.split(".")[1]
        address = self._addresses[_PLACES.get(package, package)]
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary(
                rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.reply.FromString
            )
            try:
                reply = await call(self._request(rpc, request), timeout=10)
            except grpc.aio.AioRpcError as error:
                return name, _failure(from_rpc_error(error))
        return name, self._told(MessageToDict(reply, preserving_proto_field_name=True))

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
        if id_ := told.get("profile_id"):
            told["profile_id"] = self._ids.setdefault(id_, f"profile {len(self._ids) + 1}")
        if error := told.get("error"):
            del error["message"]
        return told


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    return known.get(value, value) if isinstance(value, str) else value


def _failure(error: CaminoError) -> Any:
    fields = [violation.field for violation in error.violations]
    metadata = {key: value for key, value in error.metadata.items() if key != "current_etag"}
    return error.status.name, error.reason, fields, metadata


async def _transcripts(addresses: Mapping[str, str]) -> dict[str, list[Any]]:
    return {name: await Transcript(addresses, name.replace(" ", "-")).play(scene) for name, scene in SCENES.items()}


async def test_the_fake_answers_as_the_services_do(tmp_path: Path) -> None:
    async with house(tmp_path) as services:
        theirs = await _transcripts(services.addresses)
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=services.clock.now())
    async with FakeCamino(now=lambda: now) as fake:
        ours = await _transcripts(dict.fromkeys(services.addresses, fake.target))
    differences = [
        f"{name}, call {number}:\n  services: {expected}\n  fake:     {answered}"
        for name in SCENES
        for number, (expected, answered) in enumerate(zip(theirs[name], ours[name], strict=True))
        if expected != answered
    ]
    assert not differences, "\n".join(differences)
