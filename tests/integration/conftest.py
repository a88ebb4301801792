"""Databases of each engine, for what must hold on both; and the profile service as its callers see it."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.chassis.documents import Database
from services.chassis.mongo import MongoDatabase
from services.chassis.stores import open_database
from tests.served_people import STREAM, ServedPeople, serving_people
from tests.servers import NatsServer, nats_server, secantusd


@pytest.fixture(scope="session")
def secantusd_uri() -> Iterator[str]:
    with secantusd() as uri:
        yield uri


@pytest.fixture(params=["embedded", "secantusd", *(["mongodb"] if os.environ.get("MONGODB_URI") else [])])
async def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each engine."""
    uri = {
        "embedded": lambda: "",
        "secantusd": lambda: request.getfixturevalue("secantusd_uri"),
        "mongodb": lambda: os.environ["MONGODB_URI"],
    }[request.param]()
    name = f"test_{uuid.uuid4().hex}"
    async with AsyncExitStack() as stack:
        if uri:
            stack.push_async_callback(_drop, uri, name)
        opened = await open_database(uri=uri, path=tmp_path / "documents.db", name=name)
        stack.push_async_callback(opened.close)
        yield opened


async def _drop(uri: str, name: str) -> None:
    database = MongoDatabase(uri, name)
    await database.drop()
    await database.close()


@pytest.fixture(scope="session")
def broker_of_people() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def people(broker_of_people: NatsServer, tmp_path: Path) -> AsyncIterator[ServedPeople]:
    """The profile service, where nobody is known and nothing was published yet."""
    async with serving_people(broker_of_people, tmp_path) as served:
        yield served
        await served.broker.jetstream.delete_stream(STREAM)
