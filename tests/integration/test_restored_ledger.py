"""What an older copy of the channels' database does, and that the quarantine of docs/operating.md keeps people from
getting a message twice."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from camino.channels.v1 import template_pb2
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.type.v1 import messaging_pb2

from services.channels import convert
from services.channels.domain import State
from services.channels.gate import Gate
from services.channels.library import Library
from services.channels.providers.base import Accepted, Deferred, Outcome, Outgoing, Provider
from services.channels.sender import Rules, Sender
from services.channels.store import SCHEMAS, Store
from services.channels.templates import Compiler
from services.chassis.clock import HOUR, SECOND
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock

RULES = Rules(partitions=1)


class Nobody:
    """Whom ends are told: in these cases it doesn't matter."""

    async def publish(self, batch: Sequence[Any]) -> None: ...


class Relay:
    """A provider that puts off what it's told to, and knows whom it has taken a message for."""

    name, batch, timeout = "relay", 10, 10 * SECOND

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.busy: set[str] = set()

    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        self.taken += [message.send_id for message in messages if message.send_id not in self.busy]
        return [Deferred("busy") if message.send_id in self.busy else Accepted() for message in messages]

    async def close(self) -> None: ...


class Channels:
    def __init__(self, store: Store, clock: FakeClock, providers: Mapping[int, Provider]) -> None:
        self.store = store
        self.clock = clock
        self.library = Library(store, Compiler(), clock)
        self.sender = Sender(store, Nobody(), Gate(store, self.library, providers), providers, clock, RULES)  # type: ignore[arg-type]

    async def ask(self, *send_ids: str) -> None:
        """What the orchestrator does, again and again for as long as it knows of no end."""
        await self.sender.handle([request(self.clock, send_id) for send_id in send_ids])

    async def due(self) -> None:
        page = await self.store.messages.query("due", 0, below=self.clock.now() + 1, limit=100)
        await self.sender.take(page.documents)

    async def states(self) -> dict[str, State]:
        page = await self.store.messages.scan(limit=100)
        return {
            document.id.partition("/")[2]: convert.message_of(document.id, document.body).state
            for document in page.documents
        }


def request(clock: FakeClock, send_id: str) -> SendRequested:
    wire = SendRequested(
        workspace_id="shop",
        send_id=send_id,
        profile_id=send_id,
        channel=messaging_pb2.CHANNEL_EMAIL,
        endpoint=f"{send_id}@example.com",
        template_id="hello",
        template_version=1,
        purpose=messaging_pb2.PURPOSE_MARKETING,
        unknown_policy=messaging_pb2.UNKNOWN_POLICY_PARK,
        source_key=f"run:{send_id}",
    )
    wire.not_after.FromMicroseconds(clock.now() + 24 * HOUR)
    return wire


@asynccontextmanager
async def channels(path: Path, clock: FakeClock, providers: Mapping[int, Provider]) -> AsyncIterator[Channels]:
    database = await SqliteDatabase.open(path)
    try:
        await database.migrate(SCHEMAS)
        yield Channels(Store.of(database), clock, providers)
    finally:
        await database.close()


def back_up(path: Path, copy: Path) -> None:
    """As `sqlite3 path ".backup copy"` does, from a process of its own."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


@pytest.fixture
async def accident(tmp_path: Path) -> tuple[Path, FakeClock, Relay]:
    """A copy that was made while the services ran, an hour old, and a relay that has taken messages since."""
    clock, relay = FakeClock(), Relay()
    live, copy = tmp_path / "live.db", tmp_path / "copy.db"
    async with channels(live, clock, {messaging_pb2.CHANNEL_EMAIL: relay}) as before:
        content = template_pb2.TemplateContent()
        content.email.subject = content.email.text = "Hello"
        await before.library.publish("shop", "hello", content, "", clock.now())
        relay.busy = {"put-off"}
        await before.ask("sent", "put-off")
        back_up(live, copy)
        relay.busy = set()
        clock.advance(HOUR)
        await before.due()
        await before.ask("asked-since")
        assert set((await before.states()).values()) == {State.SENT}
    assert sorted(relay.taken) == ["asked-since", "put-off", "sent"]
    return copy, clock, relay


async def test_what_the_copy_has_forgotten_is_sent_again(accident: tuple[Path, FakeClock, Relay]) -> None:
    copy, clock, relay = accident
    async with channels(copy, clock, {messaging_pb2.CHANNEL_EMAIL: relay}) as restored:
        await restored.due()
        await restored.ask("sent", "put-off", "asked-since")
    assert sorted(relay.taken) == ["asked-since", "asked-since", "put-off", "put-off", "sent"]


async def test_after_a_quarantine_it_is_not(accident: tuple[Path, FakeClock, Relay]) -> None:
    copy, clock, relay = accident
    async with channels(copy, clock, {}) as quarantined:
        await quarantined.due()
        await quarantined.ask("sent", "put-off", "asked-since")
        ended = {"sent": State.SENT, "put-off": State.FAILED, "asked-since": State.FAILED}
        assert await quarantined.states() == ended
    async with channels(copy, clock, {messaging_pb2.CHANNEL_EMAIL: relay}) as restored:
        clock.advance(HOUR)
        await restored.due()
        await restored.ask("sent", "put-off", "asked-since", "new")
        assert await restored.states() == {**ended, "new": State.SENT}
    assert sorted(relay.taken) == ["asked-since", "new", "put-off", "sent"]
