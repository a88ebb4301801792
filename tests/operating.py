"""Erasing and exporting people without a server: replicas that may be killed, and what outlives them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from camino.profile.v1 import operation_service_pb2 as ops
from camino.profile.v1.operation_pb2 import Operation
from camino.profile.v1.profile_events_pb2 import ProfileChanged, ProfileErased
from structlog.testing import capture_logs

from services.chassis.app import Resources
from services.chassis.broker import Broker, StreamSpec
from services.chassis.clock import MINUTE, SECOND
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters, Letter
from services.chassis.documents import Database
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.leases import LEASES, Leases
from services.chassis.sqlite import SqliteDatabase
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock
from services.chassis.workspaces import Workspaces
from services.profile.operations.part import operations
from services.profile.outbox import Outbox
from services.profile.rules import Registry
from services.profile.service import ProfileServicer
from services.profile.store import SCHEMAS, Store
from tests.others import Others, others
from tests.people import Replica
from tests.servers import NatsServer
from tests.torn import Life, Mortal

CHANGES = StreamSpec("CAMINO_PROFILE", (ProfileChanged,), "log", max_age_s=3600)
STREAM = StreamSpec("CAMINO_PROFILE", (ProfileChanged, ProfileErased), "log", max_age_s=3600)
MARK = "s3cret"
IMMORTAL = 2**31


@dataclass
class MortalBroker:
    """Purges, and may be killed before it does."""

    inner: Broker
    life: Life

    async def purge(self, *args: Any) -> int:
        self.life.write()
        return await self.inner.purge(*args)


@dataclass
class MortalPublisher:
    inner: Publisher
    life: Life

    async def publish(self, batch: list[Outgoing]) -> None:
        self.life.write()
        await self.inner.publish(batch)


class World:
    """What outlives a replica."""

    def __init__(self, database: Database, broker: Broker, asked: Others, clock: FakeClock) -> None:
        self.database = database
        self.store = Store.of(database)
        self.broker = broker
        self.others = asked
        self.clock = clock

    @asynccontextmanager
    async def replica(self, life: Life) -> AsyncIterator[tuple[Any, Any, Leases]]:
        """One that is killed when its life is over: what it serves, its loop, and its leases."""
        store = Store(*(Mortal(getattr(self.store, field.name), life) for field in fields(Store)))
        telemetry = Telemetry()
        leases = Leases(self.database.collection(LEASES), 4, "test", self.clock)
        resources = Resources(
            telemetry,
            self.database,
            MortalBroker(self.broker, life),  # type: ignore[arg-type]
            MortalPublisher(Publisher(self.broker, "profile"), life),  # type: ignore[arg-type]
            leases,
            DeadLetters(Mortal(self.database.collection(DEAD_LETTERS), life), self.clock),
            Workspaces(self.database, SCHEMAS, self.broker, (STREAM,), ""),
        )
        people = Replica(store, self.clock)
        registry = Registry(store, self.clock)
        profiles = ProfileServicer(
            store, registry, people.profiles, people.events, people.unlinking, self.clock, telemetry.tracing
        )
        async with operations(
            resources,
            store,
            people.joining,
            profiles,
            registry.rules,
            self.clock,
            4,
            changes=CHANGES,
            targets=self.others.targets(),
            token_file=None,
            tls=None,
        ) as (mounted, loop):
            yield mounted.servicer, loop, leases

    async def go_on(self, life: Life, begin: Callable[[Any], Awaitable[object]] | None = None) -> None:
        """Let a replica work for two minutes, or until it's killed: what died with its claim goes on when that ends."""
        # What is said of each death would take longer than all the rest.
        with capture_logs():
            await self._go_on(life, begin)

    async def _go_on(self, life: Life, begin: Callable[[Any], Awaitable[object]] | None) -> None:
        async with self.replica(life) as (servicer, loop, leases):
            try:
                if begin:
                    await begin(servicer)
                for _ in range(12):
                    await leases.renew()
                    while await loop.tick():
                        life.check()
                    self.clock.advance(10 * SECOND)
            except Exception:
                assert life.dead

    async def operation(self) -> Operation | None:
        """The only one that there is."""
        async with self.replica(Life(IMMORTAL)) as (servicer, _, _):
            request = ops.ListOperationsRequest(workspace_id="w")
            found = (await servicer.ListOperations(request, None)).operations
            return found[0] if found else None

    async def document(self, operation: Operation) -> Any:
        async with self.replica(Life(IMMORTAL)) as (servicer, _, _):
            request = ops.ReadExportRequest(workspace_id="w", operation_id=operation.operation_id)
            text = b""
            while True:
                answer = await servicer.ReadExport(request, None)
                text += answer.part
                if not answer.next_page_token:
                    return json.loads(text)
                request.page_token = answer.next_page_token

    async def identities_have_profiles(self) -> bool:
        identities = (await self.store.identities.scan(limit=1000)).documents
        owners = {f"w/{identity.body['profile_id']}" for identity in identities if "profile_id" in identity.body}
        found = await self.store.profiles.get(owners)
        return all("revision" in found[owner].body or "joined_to" in found[owner].body for owner in owners)

    async def left(self) -> list[str]:
        """Where anything personal is."""
        found = []
        for schema in (*SCHEMAS, DEAD_LETTERS):
            for document in (await self.database.collection(schema).scan(limit=1000)).documents:
                if MARK in f"{document.id} {document.body!r}":
                    found.append(f"{schema.name}: {document.id}")
        return found

    async def facts(self) -> dict[str, int]:
        """How many facts of each type there are."""
        info = await self.broker.jetstream.stream_info(STREAM.name, subjects_filter=">")
        found: dict[str, int] = {}
        for subject, number in (info.state.subjects or {}).items():
            kind = subject.rsplit(".", 4)[1]
            found[kind] = found.get(kind, 0) + number
        return found


async def peopled(world: World) -> str:
    """Somebody of two profiles, of whom much is known, and whom others know; the id."""
    people = Replica(world.store, world.clock)
    await people.tell(f"crm:{MARK}-1", f"device:{MARK}-x", name=f"{MARK} Ana")
    await people.tell(f"phone:{'+34911234567'}", name=f"{MARK} A.")
    await people.tell("crm:2", "device:y", name="Bea")
    await people.tell("crm:2", f"device:{MARK}-x", at=1000)
    await people.event("e1", "phone:+34911234567")
    profile_id = (await people.tell(f"crm:{MARK}-1", "phone:+34911234567", f"card:{MARK}-3")).profile_id
    await people.event("e2", f"crm:{MARK}-1")
    await people.unlinking.take_away("w", profile_id, ("card", f"{MARK}-3"), world.clock.now(), None)
    await Outbox(world.store, Publisher(world.broker, "profile")).deliver(
        list({document.id: document for document in people.published}.values())
    )
    letters = DeadLetters(world.database.collection(DEAD_LETTERS), world.clock)
    await letters.add([Letter("t", subject_of(ProfileChanged, "w", 0, profile_id), f"{MARK}".encode(), "INVALID")])
    world.others.hold(2)
    return profile_id


@asynccontextmanager
async def worlds_at(
    nats: NatsServer, directory: Path, empty: Callable[[], Awaitable[Database]] | None = None
) -> AsyncIterator[Callable[[], Awaitable[World]]]:
    """Makes a new world each time, on this broker, and on an empty database: embedded, and closed at the end, unless
    somebody else gives it."""
    async with AsyncExitStack() as exits:
        broker = await Broker.connect(nats.url, "profile")
        exits.push_async_callback(broker.close)
        await broker.declare([STREAM], [])
        exits.push_async_callback(broker.jetstream.delete_stream, STREAM.name)
        asked = await exits.enter_async_context(others(directory))
        made = 0

        async def embedded() -> Database:
            database = await SqliteDatabase.open(directory / f"{made}.db")
            exits.push_async_callback(database.close)
            return database

        async def fresh() -> World:
            nonlocal made
            made += 1
            database = await (empty or embedded)()
            await database.migrate((*SCHEMAS, LEASES, DEAD_LETTERS))
            await broker.jetstream.purge_stream(STREAM.name)
            asked.asked.clear()
            # A time of its own, so that the broker doesn't take its facts for those of the one before.
            return World(database, broker, asked, FakeClock(1_750_000_000 * SECOND + made * MINUTE))

        yield fresh
