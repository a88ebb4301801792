"""Somebody is shown what all four services hold on them, and then forgotten by all of them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from camino.profile.v1 import operation_service_pb2 as ops
from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.broker import Broker
from services.chassis.clock import MINUTE
from services.chassis.dead_letters import DEAD_LETTERS
from services.chassis.stores import open_database
from tests.house import SEND, House, house

NAME = "s3cret"
"""In everything personal."""
STREAMS = ("CAMINO_PROFILE", "CAMINO_SEGMENT", "CAMINO_ORCHESTRATOR", "CAMINO_CHANNELS")
EVERYBODY = {"attribute": {"name": "nick", "exists": True}}
WAITING: list[dict[str, Any]] = [
    {"id": "first", "next": "rest", "send": SEND},
    {"id": "rest", "next": "second", "wait": {"duration": "3600s"}},
    {"id": "second", "send": SEND},
]


async def exported(at_home: House, profile_id: str) -> dict[str, Any]:
    asked = ops.ExportProfileRequest(workspace_id=at_home.workspace, profile_id=profile_id, request_id="r")
    operation = await at_home.done((await at_home.operations.ExportProfile(asked)).operation)
    text = b""
    request = ops.ReadExportRequest(workspace_id=at_home.workspace, operation_id=operation.operation_id)
    while True:
        answer = await at_home.operations.ReadExport(request)
        text += answer.part
        if not answer.next_page_token:
            return dict(json.loads(text))
        request.page_token = answer.next_page_token


async def kept(directory: Path) -> dict[str, str]:
    """Every document of the four services, which are stopped, as text by where it is."""
    found: dict[str, str] = {}
    for name in ("profile", "segment", "orchestrator", "channels"):
        schemas = importlib.import_module(f"services.{name}.store").SCHEMAS
        database = await open_database(uri="", path=directory / f"{name}.db", name=name)
        for schema in (*schemas, DEAD_LETTERS):
            page = await database.collection(schema).scan(limit=10_000)
            found.update({f"{name}: {schema.name}: {one.id}": repr(one.body) for one in page.documents})
        await database.close()
    return found


async def told_by_the_broker(url: str, text: bytes) -> list[str]:
    """The subjects of the messages in all streams with this text."""
    broker = await Broker.connect(url, "test")
    found = []
    for stream in STREAMS:
        state = (await broker.jetstream.stream_info(stream, subjects_filter=">")).state
        for subject in state.subjects or {}:
            message = await broker.jetstream.get_last_msg(stream, subject)
            if text in (message.data or b""):
                found.append(subject)
    await broker.close()
    return found


async def test_all_four_services_show_and_forget_somebody(tmp_path: Path) -> None:
    async with house(tmp_path) as at_home:
        await at_home.template()
        await at_home.journey(WAITING)
        ana = await at_home.person(NAME, nick=NAME)
        await at_home.person("bea", nick="Bea")
        await at_home.segment("all", EVERYBODY, members=2)
        for who in (NAME, "bea"):
            await at_home.event(who, "signup")
        await at_home.all_sent(2)

        async def waiting() -> bool:
            return [run.step_id for run in await at_home.runs()] == ["rest", "rest"]

        await at_home.until(waiting)
        document = await exported(at_home, ana)
        assert document["profile"]["identities"] == [{"namespace": "email", "value": f"{NAME}@example.com"}]
        assert [event["type"] for event in document["profile_service"]["events"]] == ["signup"]
        assert [run["stepId"] for run in document["orchestrator"]["runs"]] == ["rest"]
        assert len(document["orchestrator"]["decisions"]) == 1
        assert [one["segmentId"] for one in document["segment"]["memberships"]] == ["all"]
        assert [(one["segmentId"], one["member"]) for one in document["segment"]["transitions"]] == [("all", True)]
        assert [message["endpoint"] for message in document["channels"]["messages"]] == [f"{NAME}@example.com"]

        asked = ops.EraseProfileRequest(workspace_id=at_home.workspace, profile_id=ana)
        operation = await at_home.done((await at_home.operations.EraseProfile(asked)).operation)
        receipts = {receipt.service: dict(receipt.counts) for receipt in operation.receipts}
        assert list(receipts) == ["orchestrator", "segment", "channels", "profile"]
        assert all(receipts.values()), receipts

        # Bea's journey goes on; who comes back is somebody new, and isn't written to.
        back = await at_home.person(NAME, nick="somebody")
        assert back != ana
        await at_home.event(NAME, "signup")
        at_home.clock.advance(61 * MINUTE)
        await at_home.all_sent(3)

        async def settled() -> bool:
            runs = {run.profile_id: run for run in await at_home.runs()}
            return back in runs and len(runs[back].sends) == 1 and bool(runs[back].sends[0].outcome)

        await at_home.until(settled)
        assert sorted(at_home.sent()) == ["bea@example.com", "bea@example.com", f"{NAME}@example.com"]
        again = ops.EraseProfileRequest(workspace_id=at_home.workspace, profile_id=back)
        await at_home.done((await at_home.operations.EraseProfile(again)).operation)
        facts = await told_by_the_broker(at_home.nats_url, NAME.encode())
        assert facts == []
        assert sorted(
            subject.split(".")[3] for subject in await told_by_the_broker(at_home.nats_url, ana.encode())
        ) == ["MembershipChanged", "ProfileErased"]
        request = pb.BatchGetProfilesRequest(workspace_id=at_home.workspace, profile_ids=[ana, back])
        assert not (await at_home.profiles.BatchGetProfiles(request)).profiles
    left = await kept(tmp_path)
    assert not [where for where, body in left.items() if NAME in where or NAME in body]
