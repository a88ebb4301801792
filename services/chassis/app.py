"""A service put together: what it serves, what it does by itself, and what it stands on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.chassis.broker import Broker, ConsumerSpec, StreamSpec
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters
from services.chassis.documents import Database, Schema
from services.chassis.events import Publisher
from services.chassis.health import Probe
from services.chassis.leases import LEASES, Leases
from services.chassis.loops import Loop, reached
from services.chassis.measured import MeasuredDatabase
from services.chassis.server import Mounted
from services.chassis.stores import open_database
from services.chassis.telemetry import Telemetry
from services.chassis.workspaces import Workspaces


@dataclass(frozen=True, slots=True)
class Footing:
    """What a service needs to be there: its collections, the streams it publishes to, the consumers it reads with."""

    name: str
    schemas: Sequence[Schema]
    """In the order in which a workspace is deleted from them: see `Workspaces`."""
    streams: Sequence[StreamSpec] = ()
    consumers: Sequence[ConsumerSpec] = ()

    @property
    def migration(self) -> str:
        """The name that its migrations go by at the broker and at the store."""
        return f"{self.name}-migrate"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a service stands on, opened, and what watches it."""

    telemetry: Telemetry
    database: Database
    broker: Broker
    publisher: Publisher
    leases: Leases
    dead_letters: DeadLetters
    workspaces: Workspaces

    def probes(self) -> dict[str, Probe]:
        return {"store": self.database.ping, "broker": self.broker.ping, "publishing": self.publisher.check}


@dataclass(slots=True)
class App:
    """A service ready to run. `loops` are stopped in order: those that take work in first, those that carry it out
    last."""

    mounted: Sequence[Mounted]
    loops: list[Loop]
    probes: Mapping[str, Probe] = field(default_factory=dict)


async def open_store(footing: Footing, config: ServiceConfig) -> Database:
    """A service's own database: by its name in MongoDB, or in a file of its own."""
    return await open_database(uri=config.mongodb_uri, path=config.data_dir / f"{footing.name}.db", name=footing.name)


@asynccontextmanager
async def stand_on(
    footing: Footing, config: ServiceConfig, clock: Clock, telemetry: Telemetry | None = None
) -> AsyncIterator[Resources]:
    """Open a service's database and broker, and close them at the end. With `migrate_on_start`, create what is missing
    first."""
    telemetry = telemetry or Telemetry()
    database: Database = MeasuredDatabase(await open_store(footing, config), telemetry.metrics)
    try:
        broker = await Broker.connect(config.nats_url, footing.name)
        try:
            if config.migrate_on_start:
                await migrate(footing, config, database, broker)
            # What a service reads before it serves must not fail, and end it, for a store that comes late.
            await reached("store", database.ping)
            yield Resources(
                telemetry,
                database,
                broker,
                Publisher(broker, footing.name, telemetry),
                Leases(database.collection(LEASES), config.partitions, config.instance, clock, telemetry.metrics),
                DeadLetters(database.collection(DEAD_LETTERS), clock, telemetry.metrics),
                Workspaces(database, _schemas(footing), broker, footing.streams, config.deletable_workspaces),
            )
        finally:
            await broker.close()
    finally:
        await database.close()


async def migrate(footing: Footing, config: ServiceConfig, database: Database, broker: Broker) -> None:
    """Create what the footing declares and isn't there yet, waiting for a store or a broker that is away. Idempotent,
    and safe beside running replicas and other migrations."""
    await reached("store", lambda: database.migrate(_schemas(footing)))
    await reached("broker", lambda: broker.declare(footing.streams, footing.consumers, replicas=config.stream_replicas))


def _schemas(footing: Footing) -> Sequence[Schema]:
    return LEASES, DEAD_LETTERS, *footing.schemas
