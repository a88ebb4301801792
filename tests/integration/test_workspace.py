"""Deleting a workspace from one service: on both engines, from wherever it was broken off, and only where allowed."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.ops.v1.workspace_service_pb2 import DeleteWorkspaceRequest, DeleteWorkspaceResponse
from camino.ops.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.channels.app import build
from services.channels.config import ChannelsConfig
from services.channels.store import SCHEMAS
from services.chassis.broker import Broker, StreamSpec
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters, Letter
from services.chassis.documents import Collection, Database, Document, Owner, Schema
from services.chassis.errors import StoreUnavailable
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.mongo import MongoDatabase
from services.chassis.sqlite import SqliteDatabase
from services.chassis.stores import open_database
from services.chassis.testing import FakeClock, serving
from services.chassis.workspaces import Workspaces
from tests.servers import NatsServer, nats_server, secantusd

GONE, OTHER = "test-a", "test-a-b"
"""One begins like the other."""
STREAM = StreamSpec("CAMINO_CHANNELS", (MessageSettled,), "log", max_age_s=3600)
REQUESTS = StreamSpec("CAMINO_ORCHESTRATOR", (SendRequested,), "work", max_age_s=3600)
MANY = 450
"""More than two pages."""


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    broker = await Broker.connect(nats.url, "test")
    await broker.declare([STREAM, REQUESTS], [])
    try:
        yield broker
    finally:
        for stream in (STREAM, REQUESTS):
            await broker.jetstream.delete_stream(stream.name)
        await broker.close()


@pytest.fixture(scope="module")
def secantusd_uri() -> Iterator[str]:
    with secantusd() as uri:
        yield uri


async def publish(broker: Broker, *workspaces: str) -> None:
    facts = [
        Outgoing(subject_of(MessageSettled, workspace_id, 0, "run:r"), MessageSettled(), f"{workspace_id}/{number}")
        for workspace_id in workspaces
        for number in range(3)
    ]
    await Publisher(broker, "test").publish(facts)


async def subjects(broker: Broker) -> dict[str, int]:
    """How many messages there are of each workspace."""
    info = await broker.jetstream.stream_info(STREAM.name, subjects_filter=">")
    return {subject.split(".")[-3]: number for subject, number in (info.state.subjects or {}).items()}


async def put(collection: Collection, ids: Iterable[str]) -> None:
    result = await collection.put([Document(id_, {"n": 1}) for id_ in ids])
    assert (result.conflicted, result.duplicate) == ([], [])


async def everything(database: Database, schemas: Iterable[Schema]) -> list[tuple[str, str, int]]:
    found = []
    for schema in schemas:
        page = await database.collection(schema).scan(limit=10_000)
        assert not page.next
        found += [(schema.name, document.id, document.rev) for document in page.documents]
    return found


# --- a service --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def seen(config: ChannelsConfig) -> AsyncIterator[Database]:
    """The service's database, which nobody else has open now."""
    database = await open_database(uri=config.mongodb_uri, path=config.data_dir / "channels.db", name="channels")
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def running(config: ChannelsConfig) -> AsyncIterator[Any]:
    async with build(config, FakeClock()) as app, serving(app) as channel:
        yield WorkspaceServiceStub(channel)


@pytest.fixture(params=["embedded", "secantusd"])
def config(request: pytest.FixtureRequest, nats: NatsServer, tmp_path: Path) -> ChannelsConfig:
    uri = request.getfixturevalue("secantusd_uri") if request.param == "secantusd" else ""
    return ChannelsConfig(nats_url=nats.url, data_dir=tmp_path, partitions=2, migrate_on_start=True, mongodb_uri=uri)


async def delete(stub: Any, workspace_id: str) -> DeleteWorkspaceResponse:
    return await stub.DeleteWorkspace(DeleteWorkspaceRequest(workspace_id=workspace_id))


async def test_it_tells_how_much_there_was_and_leaves_the_rest(config: ChannelsConfig, broker: Broker) -> None:
    async with running(config):
        pass  # It has made its collections.
    async with seen(config) as database:
        for schema in SCHEMAS:
            for workspace_id in (GONE, OTHER):
                await put(database.collection(schema), [f"{workspace_id}/{number}" for number in range(3)])
        letters = DeadLetters(database.collection(DEAD_LETTERS), FakeClock())
        subject = subject_of(SendRequested, GONE, 0, "run:r")
        await letters.add([Letter("channels-sends", subject, b"\xff", "INVALID_FIELD: not one")])
        before = await everything(database, SCHEMAS)
    await publish(broker, GONE, OTHER)
    async with running(config) as stub:
        answer = await delete(stub, GONE)
        assert (answer.deleted_documents, answer.deleted_facts) == (3 * len(SCHEMAS) + 1, 3)
        assert await subjects(broker) == {OTHER: 3}
        answer = await delete(stub, GONE)
        assert (answer.deleted_documents, answer.deleted_facts) == (0, 0)
    async with seen(config) as database:
        assert await everything(database, SCHEMAS) == [found for found in before if found[1].startswith(f"{OTHER}/")]
        assert await everything(database, [DEAD_LETTERS]) == []
        if isinstance(database, MongoDatabase):
            await database.drop()


@pytest.mark.parametrize("workspace_id", ["shop", "my-test-a", "test"])
async def test_only_those_that_may_be_deleted_are(
    nats: NatsServer, broker: Broker, tmp_path: Path, workspace_id: str
) -> None:
    config = ChannelsConfig(nats_url=nats.url, data_dir=tmp_path, migrate_on_start=True, mongodb_uri="")
    await publish(broker, workspace_id)
    async with running(config) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="CAMINO_DELETABLE_WORKSPACES") as refused:
            await delete(stub, workspace_id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(refused.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["workspace_id"]) == ("WORKSPACE_PROTECTED", workspace_id)
    assert await subjects(broker) == {workspace_id: 3}


# --- interruptions ----------------------------------------------------------------------------------------------------

CATALOGUE, BIG, LAST = (Schema(name, owner=Owner.WORKSPACE) for name in ("catalogue", "big", "last"))
OWN = Schema("own", owner=Owner.SERVICE)
KINDS = (OWN, CATALOGUE, BIG, LAST)


class Breaking:
    """A database whose nth deletion fails, before it's done or after."""

    def __init__(self, database: Database, at: int, *, done: bool) -> None:
        self._database = database
        self.left = at
        self.done = done

    def collection(self, schema: Schema) -> Any:
        return BreakingCollection(self._database.collection(schema), self)


@dataclasses.dataclass
class BreakingCollection:
    inner: Collection
    breaking: Breaking

    async def scan(self, *, limit: int, after: str = "", prefix: str = "") -> Any:
        return await self.inner.scan(limit=limit, after=after, prefix=prefix)

    async def delete(self, ids: Sequence[str]) -> int:
        self.breaking.left -= 1
        if self.breaking.left < 0 and not self.breaking.done:
            raise StoreUnavailable("away")
        deleted = await self.inner.delete(ids)
        if self.breaking.left < 0:
            raise StoreUnavailable("the reply is lost")
        return deleted


@pytest.mark.parametrize("done", [False, True])
async def test_it_may_be_broken_off_anywhere_and_is_completed_by_repeating_it(
    broker: Broker, tmp_path: Path, done: bool
) -> None:
    database = await SqliteDatabase.open(tmp_path / "test.db")
    try:
        await database.migrate(KINDS)
        await put(database.collection(CATALOGUE), [OTHER])
        await put(database.collection(BIG), [f"{OTHER}/{number}" for number in range(3)])
        await put(database.collection(OWN), [GONE, f"{GONE}/1", "partition/0"])
        rest = await everything(database, KINDS)
        interruptions = 0
        while True:
            await put(database.collection(CATALOGUE), [GONE])
            await put(database.collection(BIG), [f"{GONE}/{number}" for number in range(MANY)])
            await put(database.collection(LAST), [f"{GONE}/{number}/x" for number in range(3)])
            await publish(broker, GONE)
            breaking: Any = Breaking(database, interruptions, done=done)
            try:
                await Workspaces(breaking, KINDS, broker, [STREAM], "test-.*").delete(GONE, lambda workspace_id: None)
                break
            except StoreUnavailable:
                interruptions += 1
            left = [
                sum(id_ == GONE or id_.startswith(f"{GONE}/") for _, id_, _ in await everything(database, [schema]))
                for schema in (CATALOGUE, BIG, LAST)
            ]
            # In order: what is begun later is whole as long as what is begun before isn't gone.
            assert left[0] == 0 or left[1:] == [MANY, 3]
            assert left[1] == 0 or left[2] == 3
            forgotten: list[str] = []
            again = Workspaces(database, KINDS, broker, [STREAM], "test-.*")
            assert (await again.delete(GONE, forgotten.append)).documents == sum(left)
            assert set(forgotten) == {GONE}
            assert await everything(database, KINDS) == rest
        assert interruptions > 6
        assert await everything(database, KINDS) == rest
        assert await subjects(broker) == {}
    finally:
        await database.close()
