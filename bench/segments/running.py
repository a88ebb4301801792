"""The segment service alone: a process on the embedded store, and a broker beside it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_service_pb2, segment_service_pb2_grpc
from camino.segment.v1.segment_pb2 import SEGMENT_STATE_READY, SegmentDefinition

from cli.stack import SERVICES, Stack
from services.chassis.broker import Broker, StreamSpec
from services.chassis.clients import open_channel
from services.chassis.clock import SystemClock
from services.chassis.loops import reached
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import eventually
from services.segment.registry import Registry
from services.segment.rules import Rules
from services.segment.store import Store

WORKSPACE = "many"
PARTITIONS = 8
_CHANGES = StreamSpec("CAMINO_PROFILE", (ProfileChanged,), "log", max_age_s=7 * 24 * 3600)
_SEGMENT_CHANGES = "segment-changes"


@dataclass(slots=True)
class Service:
    """A segment service that is started and stopped over one directory, and the broker, which stays."""

    stack: Stack
    broker: Broker

    async def start(self) -> None:
        await asyncio.to_thread(self.stack.start_one, "segment")
        await asyncio.to_thread(self.stack.wait_serving, "segment")

    async def stop(self) -> None:
        await asyncio.to_thread(self.stack.stop_one, "segment")

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[segment_service_pb2_grpc.SegmentServiceStub]:
        async with open_channel(self.stack.target("segment"), timeout_s=60) as channel:
            yield segment_service_pb2_grpc.SegmentServiceStub(channel)

    @asynccontextmanager
    async def stored(self) -> AsyncIterator[tuple[Store, Rules]]:
        """Its store and what it has published, while it's stopped."""
        database = await SqliteDatabase.open(self.stack.data / "segment.db")
        try:
            store = Store.of(database)
            registry = Registry(store, SystemClock())
            await registry.loaded()
            yield store, registry.rules(WORKSPACE)
        finally:
            await database.close()

    async def publish(self, definitions: dict[str, SegmentDefinition]) -> None:
        """Start it, publish segments while there is nobody yet, and stop it again."""
        await self.start()
        async with self.stub() as segments:
            for segment_id, definition in definitions.items():
                request = segment_service_pb2.PublishSegmentRequest(
                    workspace_id=WORKSPACE, segment_id=segment_id, definition=definition
                )
                await segments.PublishSegment(request)
            last = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id=segment_id)

            async def ready() -> bool:
                return bool((await segments.GetSegment(last)).segment.state == SEGMENT_STATE_READY)

            await eventually(ready, within_s=60)
        await self.stop()

    async def behind(self) -> int:
        """How many changes of profiles it has yet to take in."""
        left = [await self.broker.behind(_CHANGES.name, f"{_SEGMENT_CHANGES}-{number}") for number in range(PARTITIONS)]
        return sum(left)

    def cpu_s(self, name: str = "segment") -> float:
        """CPU seconds of a process so far: of the service, or of `nats`."""
        return float(sum(psutil.Process(self.stack.pid(name)).cpu_times()[:2]))

    def memory_mb(self) -> float:
        return float(psutil.Process(self.stack.pid("segment")).memory_info().rss / 2**20)


@asynccontextmanager
async def broker_and_service() -> AsyncIterator[Service]:
    """The broker runs, and has the stream of changes of profiles; the service isn't started yet."""
    async with AsyncExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="camino-bench-")))
        stack = Stack(
            directory,
            dict.fromkeys(SERVICES, 0),
            environment={"segment": {"CAMINO_LOG_LEVEL": "warning"}},
            nats_url=os.environ.get("NATS_URL", ""),
        )
        stack.prepare()
        exits.callback(stack.stop)
        stack.start_broker()
        broker = await Broker.connect(stack.broker, "bench")
        exits.push_async_callback(broker.close)
        await reached("broker", lambda: broker.declare([_CHANGES], []))
        yield Service(stack, broker)
