"""Every entry and exit of a person, whatever ids they were told under."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.broker import Broker
from services.chassis.clock import DAY, SECOND
from services.chassis.documents import Page
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.segment import convert, history
from services.segment.app import SegmentConfig
from services.segment.standing import Cause, Transition
from services.segment.store import TRANSITIONS
from tests.segments import (
    BUYER,
    LOYAL,
    PARTITIONS,
    RECENT,
    SPANISH,
    START,
    WORKSPACE,
    ana_and_bo,
    profile,
    profile_stream,
    purchase,
    running,
)
from tests.servers import NatsServer, nats_server


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    async with profile_stream(nats) as broker:
        yield broker


async def test_all_that_was_published_is_listed(nats: NatsServer, broker: Broker, tmp_path: Path) -> None:
    """Of events, time, edits and merges; by any id, in pages of any size; and told again it's there once."""
    config = SegmentConfig(
        nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=""
    )
    async with running(config, FakeClock(START), broker) as world:
        for name, condition in {"buyers": BUYER, "loyal": LOYAL, "recent": RECENT, "spanish": SPANISH}.items():
            await world.publish(name, condition)
        await ana_and_bo(world)
        await world.tell(profile("cleo", 3, merged=["ana", "bo"]), purchase("dan", "d1", START))
        await world.settled()
        world.clock.advance(DAY)
        published = await world.ticking(16)
        await world.publish("buyers", RECENT)
        published = await world.transitions(len(published) + 2)
        hers = [transition for transition in published if transition.profile_id != "dan"]
        assert {one.profile_id for one in hers} == {"ana", "bo", "cleo"}
        listed = await world.history("cleo")
        assert sorted(listed, key=_identity) == sorted(hers, key=_identity)
        assert listed == sorted(listed, key=_place)
        for asked, size in (("ana", 1), ("bo", 2), ("cleo", 7), ("bo", 1_000)):
            assert await world.history(asked, size) == listed
        assert await world.history("nobody") == []


def _identity(transition: MembershipChanged) -> tuple[str, int]:
    return transition.profile_id, transition.sequence


def _place(transition: MembershipChanged) -> tuple[int, str, int]:
    return -convert.instant(transition.effective_at), transition.profile_id, -transition.sequence


@dataclass
class Counted:
    """A collection, and how many documents were read from it."""

    inner: Any
    read: int = 0

    async def scan(self, **how: Any) -> Page:
        page: Page = await self.inner.scan(**how)
        self.read += len(page.documents)
        return page


async def test_a_page_is_read_and_not_everything(tmp_path: Path) -> None:
    """Of dozens of ids, some with thousands of transitions, many of which are of one instant."""
    dice = random.Random(3)
    database = await SqliteDatabase.open(tmp_path / "segment.db")
    await database.migrate([TRANSITIONS])
    transitions = database.collection(TRANSITIONS)
    told: dict[str, list[Transition]] = {}
    for number in range(30):
        ats = sorted(START + dice.randrange(60) * SECOND for _ in range(dice.choice([0, 1, 3, 20, 900])))
        told[f"p{number}"] = [
            Transition(sequence, "loyal", bool(sequence % 2), at, Cause.EVENT, "", 1)
            for sequence, at in enumerate(ats, 1)
        ]
    for profile_id, ones in told.items():
        documents = [history.document(convert.key_of(WORKSPACE, profile_id), one) for one in ones]
        await transitions.put(documents)
        again = [history.document(convert.key_of(WORKSPACE, profile_id), one) for one in ones]
        assert len((await transitions.put(again)).duplicate) == len(ones)
    # Somebody else's, whose id begins alike.
    await transitions.put([history.document(convert.key_of(WORKSPACE, "p"), told["p0"][0])] if told["p0"] else [])
    expected = sorted(
        (convert.membership_changed(WORKSPACE, id_, one) for id_, ones in told.items() for one in ones), key=_place
    )
    assert len(expected) > 3_000
    for size in (40, 1_000):
        found: list[MembershipChanged] = []
        after = ""
        while True:
            counted = Counted(transitions)
            page, after = await history.newest(counted, WORKSPACE, told, size, after)  # type: ignore[arg-type]
            assert counted.read <= 3 * size + 30 * 10
            found += page
            if not after:
                break
            assert len(page) == size
        assert found == expected
    await history.forget(transitions, WORKSPACE, "p1")
    left = await history.newest(transitions, WORKSPACE, told, 10_000, "")
    assert left == ([one for one in expected if one.profile_id != "p1"], "")
    await database.close()
