"""A replica that is killed between any two documents that it writes while it erases somebody: whoever erases next ends
with the same, and at no moment somebody is mailed who wasn't to be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from services.channels.store import SCHEMAS, Store
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from tests.channels import Channels, Recorded, Scripted
from tests.integration.test_channels_erasing import (
    ALL,
    ANA,
    KEYS,
    correspond,
    mortal,
    people,
    remembered,
    send,
)
from tests.torn import Died, Life


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Channels]]]:
    databases: list[SqliteDatabase] = []

    async def made() -> Channels:
        databases.append(await SqliteDatabase.open(tmp_path / f"{len(databases)}.db"))
        await databases[-1].migrate(SCHEMAS)
        channels = Channels(Store.of(databases[-1]), FakeClock(), Scripted(), Recorded())
        await channels.publish_template()
        await correspond(channels)
        return channels

    yield made
    for database in databases:
        await database.close()


async def test_whoever_erases_next_ends_with_the_same(fresh: Callable[[], Awaitable[Channels]]) -> None:
    deaths = 0
    while True:
        channels = await fresh()
        life = Life(deaths)
        try:
            await people(channels.another(mortal(channels.store, life))).erase(ANA)
        except Died:
            pass
        held = await channels.gate.suppressions.holding(KEYS, channels.clock.now())
        assert sorted(held) == sorted(KEYS), f"after {deaths} documents"
        hidden = [body["reason"] == "its person was erased" for body in held.values()]
        assert hidden.count(True) == min(max(deaths - len(ANA.profile_ids), 0), len(KEYS))
        asked = len(channels.provider.sent)
        if deaths >= len(ANA.profile_ids):
            # From the markers on, nothing is sent: neither what is owed anew nor what was waiting.
            channels.provider.outcomes.clear()
            channels.clock.advance(10)
            await send(channels, "late", endpoint="s3cret.3@example.com")
            assert await channels.states("late") == ["CANCELLED"]
        await people(channels).erase(ANA)
        assert await remembered(channels.store) == [], f"after {deaths} documents"
        assert await channels.states(*ALL) == list(ALL.values()), f"after {deaths} documents"
        assert sorted(await channels.gate.suppressions.holding(KEYS, channels.clock.now())) == sorted(KEYS)
        assert len(channels.provider.sent) == asked
        if not life.dead:
            break
        deaths += 1
    # Two markers, two hashes, each message, two suppressions in plain; the salt was made before.
    assert deaths == 2 + 2 + len(ALL) + 2
