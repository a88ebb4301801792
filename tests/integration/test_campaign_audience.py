"""A campaign's audience is all of a segment's members by one version of it: it waits for them to be listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from camino.orchestrator.v1 import campaign_pb2

from services.chassis.clock import SECOND
from services.chassis.documents import Document
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.orchestrator.campaigns.launch import Launcher
from services.orchestrator.store import SCHEMAS, Store

CAMPAIGN = "shop/news"


@dataclass
class Segments:
    """The segment service, at the seam."""

    complete: bool
    listed: list[str] = field(default_factory=list)

    async def members_complete(self, workspace_id: str, segment_id: str) -> bool:
        assert (workspace_id, segment_id) == ("shop", "loyal")
        return self.complete

    async def members(self, workspace_id: str, segment_id: str, limit: int, after: str) -> tuple[list[str], str]:
        return self.listed, ""


async def test_the_audience_is_frozen_when_all_members_are_listed(tmp_path: Path) -> None:
    clock, segments = FakeClock(), Segments(complete=False, listed=["ana"])
    database = await SqliteDatabase.open(tmp_path / "orchestrator.db")
    await database.migrate(SCHEMAS)
    store = Store.of(database)
    launcher = Launcher(
        store,
        segments,  # type: ignore[arg-type]
        clock,
        4,
        hint=lambda partition, at: None,
        hint_shard=lambda partition, at: None,
    )
    now = clock.now()
    body = {
        "workspace": "shop",
        "partition": 0,
        "segment": "loyal",
        "state": campaign_pb2.CAMPAIGN_STATE_RUNNING,
        "at": now,
        "wake_at": now,
        "occurrence": "first",
        "audience_token": "",
        "frozen": False,
        "total": 0,
        "shards": 0,
    }
    await store.campaigns.put([Document(CAMPAIGN, body)])

    async def step() -> Document:
        await launcher.woken(list((await store.campaigns.get([CAMPAIGN])).values()))
        return (await store.campaigns.get([CAMPAIGN]))[CAMPAIGN]

    waiting = (await step()).body
    assert (waiting["frozen"], waiting["total"]) == (False, 0)
    assert now < waiting["wake_at"] < now + SECOND
    segments.complete, segments.listed = True, ["ana", "bo"]
    frozen = (await step()).body
    assert (frozen["frozen"], frozen["total"], frozen["shards"]) == (True, 2, 1)
    await database.close()
