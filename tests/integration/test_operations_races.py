"""Erasing somebody who is being joined with somebody else at the same time, on each engine: nobody is erased by half,
or never."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from camino.profile.v1 import operation_service_pb2 as ops
from camino.profile.v1.operation_pb2 import OPERATION_STATE_DONE, OPERATION_STATE_RUNNING, Operation

from services.chassis.documents import Database, Document, PutResult, change
from services.profile.joining import PATIENCE
from tests.operating import IMMORTAL, World, worlds_at
from tests.people import Replica, everybody
from tests.servers import NatsServer, nats_server
from tests.torn import Life


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def world(nats: NatsServer, tmp_path: Path, empty_database: Database) -> AsyncIterator[World]:
    async def empty() -> Database:
        return empty_database

    async with worlds_at(nats, tmp_path, empty) as fresh:
        yield await fresh()


async def lock(world: World, profile_id: str) -> None:
    """As somebody does who then dies."""

    def decide(_key: str, found: Document | None) -> dict[str, Any]:
        assert found is not None
        return {**found.body, "join": "dead", "due_at": world.clock.now() + PATIENCE}

    await change(world.store.profiles, [f"w/{profile_id}"], decide)


async def erase(world: World, profile_id: str) -> Operation:
    request = ops.EraseProfileRequest(workspace_id="w", profile_id=profile_id)
    async with world.replica(Life(IMMORTAL)) as (servicer, _, _):
        return (await servicer.EraseProfile(request, None)).operation


async def operation(world: World, operation_id: str) -> Operation:
    request = ops.GetOperationRequest(workspace_id="w", operation_id=operation_id)
    async with world.replica(Life(IMMORTAL)) as (servicer, _, _):
        return (await servicer.GetOperation(request, None)).operation


async def test_a_join_that_is_under_way_is_waited_for(world: World) -> None:
    people = Replica(world.store, world.clock)
    profile_id = (await people.tell("crm:1", "device:x")).profile_id
    await lock(world, profile_id)
    held_up = await erase(world, profile_id)
    assert (held_up.state, held_up.obstacle) == (OPERATION_STATE_RUNNING, "the profile is being joined to another")
    # Nothing is refused yet, since nothing is marked.
    world.clock.advance(PATIENCE)
    assert not (await people.tell("crm:1", name="Ana")).HasField("error")
    await world.go_on(Life(IMMORTAL))
    ended = await operation(world, held_up.operation_id)
    assert (ended.state, ended.obstacle) == (OPERATION_STATE_DONE, "")
    assert await everybody(world.store) == {}


async def test_who_is_merged_before_the_mark_is_erased_as_the_one_who_stays(world: World) -> None:
    people = Replica(world.store, world.clock)
    older = (await people.tell("crm:1")).profile_id
    younger = (await people.tell("card:2")).profile_id
    await lock(world, younger)
    asked = await erase(world, younger)
    world.clock.advance(PATIENCE)
    await people.tell("crm:1", "card:2")
    await world.go_on(Life(IMMORTAL))
    ended = await operation(world, asked.operation_id)
    assert (ended.state, ended.profile_id) == (OPERATION_STATE_DONE, older)
    assert [subject.profile_ids for subject in world.others["channels"].erased] == [(older, younger)]
    assert (await erase(world, older)).operation_id == asked.operation_id


async def test_two_who_turn_out_to_be_one_are_erased_once(world: World) -> None:
    people = Replica(world.store, world.clock)
    ids = [(await people.tell(identity)).profile_id for identity in ("crm:1", "card:2")]
    for id_ in ids:
        await lock(world, id_)
    asked = [await erase(world, id_) for id_ in ids]
    assert asked[0].operation_id != asked[1].operation_id
    world.clock.advance(PATIENCE)
    await people.tell("crm:1", "card:2")
    await world.go_on(Life(IMMORTAL))
    ended = [await operation(world, one.operation_id) for one in asked]
    assert [one.state for one in ended] == [OPERATION_STATE_DONE] * 2
    assert ended[0].receipts == ended[1].receipts
    assert world.others.asked == ["orchestrator", "segment", "channels"]
    assert await everybody(world.store) == {}


async def test_somebody_who_is_marked_is_not_merged(world: World) -> None:
    people = Replica(world.store, world.clock)
    ana = (await people.tell("crm:1")).profile_id
    bea = (await people.tell("card:2")).profile_id
    asked = await erase(world, ana)
    assert (await people.tell("crm:1", "card:2")).error.reason != 0
    await world.go_on(Life(IMMORTAL))
    assert (await operation(world, asked.operation_id)).state == OPERATION_STATE_DONE
    assert list(await everybody(world.store)) == [frozenset(["card:2"])]
    together = await people.tell("crm:1", "card:2")
    assert (together.profile_id, together.HasField("error")) == (bea, False)


@dataclass
class Torn:
    """A collection of whose first batch the first document is written, then something else happens."""

    inner: Any
    act: Callable[[], Awaitable[object]]
    done: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, documents: Sequence[Document]) -> PutResult:
        if self.done:
            return await self._put(documents)
        self.done = True
        first = await self._put(documents[:1])
        await self.act()
        rest = await self._put(documents[1:])
        return PutResult(*(one + other for one, other in zip(astuple(first), astuple(rest), strict=True)))

    async def _put(self, documents: Sequence[Document]) -> PutResult:
        result: PutResult = await self.inner.put(documents)
        return result


async def test_a_name_that_was_given_to_a_place_which_came_to_be_somebodys_is_erased(world: World) -> None:
    """Two inputs at once: one keeps a place for whoever has the two names, the other makes the place the person's when
    one of the names was given to it, and the other not yet."""
    people = Replica(world.store, world.clock)
    ana = (await people.tell("card:1", at=100)).profile_id

    async def meanwhile() -> object:
        return await people.tell("card:1", "device:x", at=50)

    slow = Replica(replace(world.store, identities=Torn(world.store.identities, meanwhile)), world.clock)
    assert (await slow.tell("device:x", "email:ana@example.com")).profile_id == ana
    assert list(await everybody(world.store)) == [frozenset(["card:1", "device:x", "email:ana@example.com"])]
    asked = await erase(world, ana)
    await world.go_on(Life(IMMORTAL))
    assert (await operation(world, asked.operation_id)).state == OPERATION_STATE_DONE
    assert not (await world.store.identities.scan(limit=10)).documents
    assert (await people.tell("email:ana@example.com")).profile_id not in ("", ana)
