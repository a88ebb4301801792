"""Receivers of webhooks, which speak real HTTP, and the part of the segment service that tells them, on a real store
and a real broker, for tests of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from camino.segment.v1 import membership_webhook_pb2
from camino.segment.v1 import membership_webhook_service_pb2 as pb
from camino.segment.v1.segment_events_pb2 import MEMBERSHIP_CAUSE_EVENT, MembershipChanged
from google.protobuf.json_format import ParseDict
from nats.js.errors import NotFoundError
from standardwebhooks import Webhook

from services.chassis.broker import Broker
from services.chassis.clock import SECOND
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.loops import Running
from services.chassis.metrics import Metrics
from services.chassis.stores import open_database
from services.chassis.tail import Tail
from services.chassis.testing import FakeClock, eventually
from services.chassis.wire import timestamp
from services.segment.app import MEMBERSHIPS
from services.segment.registry import Registry
from services.segment.store import SCHEMAS, Store
from services.segment.webhooks.courier import Courier, Means
from services.segment.webhooks.couriers import Couriers
from services.segment.webhooks.measuring import Measuring
from services.segment.webhooks.networks import Networks
from services.segment.webhooks.posting import Poster
from services.segment.webhooks.service import MembershipWebhookServicer

WORKSPACE = "shop"
START = 1_750_000_000 * SECOND


@dataclass(frozen=True)
class Posted:
    """A message as it came in."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> Any:
        return json.loads(self.body)

    @property
    def sequences(self) -> list[tuple[str, int]]:
        return [(change["profileId"], int(change["sequence"])) for change in self.told["changes"]]

    def signed_by(self, secret: str) -> bool:
        """Whether one of the signatures is what the specification's own library makes."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        expected = Webhook(secret).sign(self.id, at, self.body.decode())
        return expected in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Answers with what `answer` says, and keeps what came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posted: list[Posted] = []
        self.answer: Callable[[Posted], Awaitable[web.Response]] = taken

    async def handle(self, request: web.Request) -> web.Response:
        posted = Posted(request.headers, await request.read())
        self.posted.append(posted)
        return await self.answer(posted)

    async def come(self, number: int) -> list[Posted]:
        """What came, once there is so much."""

        async def probe() -> list[Posted] | None:
            return self.posted if len(self.posted) >= number else None

        return await eventually(probe)


async def taken(_posted: Posted) -> web.Response:
    return web.Response(status=204)


def answering(status: int, **headers: str) -> Callable[[Posted], Awaitable[web.Response]]:
    async def answer(_posted: Posted) -> web.Response:
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    application = web.Application()
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    found = Receiver("")
    application.router.add_post("/hook", found.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [(host, port)] = runner.addresses
    found.url = f"http://{host}:{port}/hook"
    try:
        yield found
    finally:
        await runner.cleanup()


@dataclass
class Telling:
    """What tells webhooks. The calls are made of the servicer itself; `running` has the loop at work."""

    store: Store
    broker: Broker
    clock: FakeClock
    poster: Poster
    metrics: Metrics
    _numbers: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        self.tail = Tail(self.broker, MEMBERSHIPS, MembershipChanged, self.clock)
        self._publisher = Publisher(self.broker, "segment")
        measuring = Measuring(self.metrics, self.store.webhooks, self.clock, self.held)
        slots, slots_of_failing = asyncio.Semaphore(8), asyncio.Semaphore(1)
        self.means = Means(
            self.store.webhooks,
            self.tail,
            self.poster,
            self.clock,
            2,
            slots,
            slots_of_failing,
            measuring,
            lambda: 1.0,
        )
        self.couriers = Couriers(self.means, self.held, last_answers_s=0.1)
        registry = Registry(self.store, self.clock)
        self.servicer = MembershipWebhookServicer(
            self.store, registry, self.tail, self.poster, self.clock, 2, self.couriers.hint, False
        )

    def held(self) -> frozenset[int]:
        return frozenset({0, 1})

    def courier(self, webhook_id: str = "hook", **means: Any) -> Courier:
        """One that is moved by hand."""
        return Courier(f"{WORKSPACE}/{webhook_id}", replace(self.means, **means), lambda: True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        running = Running([self.couriers], self.metrics)
        try:
            yield
        finally:
            await running.stop(5)

    async def put(self, url: str, webhook_id: str = "hook", **definition: Any) -> pb.PutMembershipWebhookResponse:
        request = pb.PutMembershipWebhookRequest(workspace_id=WORKSPACE, membership_webhook_id=webhook_id)
        ParseDict({"url": url, **definition}, request.definition)
        return await self.servicer.PutMembershipWebhook(request, None)

    async def webhook(self, webhook_id: str = "hook") -> membership_webhook_pb2.MembershipWebhook:
        request = pb.GetMembershipWebhookRequest(workspace_id=WORKSPACE, membership_webhook_id=webhook_id)
        return (await self.servicer.GetMembershipWebhook(request, None)).membership_webhook

    async def state(self, state: int, webhook_id: str = "hook") -> membership_webhook_pb2.MembershipWebhook:
        """The webhook, once it's in a state and what came of its last message is written down."""

        async def probe() -> membership_webhook_pb2.MembershipWebhook | None:
            found = await self.webhook(webhook_id)
            return found if found.state == state else None

        return await eventually(probe)

    async def publish(self, *changes: tuple[str, int], segment_id: str = "loyal") -> None:
        """Changes of profiles, by their sequences."""
        await self._publisher.publish(
            [
                Outgoing(
                    subject_of(MembershipChanged, WORKSPACE, 0, profile_id),
                    changed(profile_id, sequence, segment_id),
                    f"{next(self._numbers)}",
                )
                for profile_id, sequence in changes
            ]
        )


def changed(profile_id: str, sequence: int, segment_id: str = "loyal") -> MembershipChanged:
    return MembershipChanged(
        workspace_id=WORKSPACE,
        segment_id=segment_id,
        profile_id=profile_id,
        member=sequence % 2 == 1,
        effective_at=timestamp(START),
        cause=MEMBERSHIP_CAUSE_EVENT,
        segment_version=1,
        sequence=sequence,
    )


@asynccontextmanager
async def telling(broker: Broker, directory: Path, networks: Iterable[str] = ("loopback",)) -> AsyncIterator[Telling]:
    await broker.declare([MEMBERSHIPS], [])
    database = await open_database(uri="", path=directory / "segment.db", name="segment")
    clock = FakeClock(int(datetime.now(UTC).timestamp()) * SECOND)
    try:
        await database.migrate(SCHEMAS)
        async with Poster.opened(Networks(networks), clock, 5) as poster:
            yield Telling(Store.of(database), broker, clock, poster, Metrics())
    finally:
        await database.close()
        with suppress(NotFoundError):
            await broker.jetstream.delete_stream(MEMBERSHIPS.name)
