"""The published journeys, in memory: what triggers what, without a read per event."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from camino.orchestrator.v1 import journey_pb2

from services.chassis.clock import SECOND, Clock, wait_for_any
from services.chassis.documents import Document
from services.orchestrator import convert
from services.orchestrator.domain.journey import Journey
from services.orchestrator.store import Store

_EVERY = SECOND


@dataclass(frozen=True, slots=True)
class Published:
    """A journey's current version, and its state, which may change without a new version.

    `created_at` tells it from one of the same name that was deleted.
    """

    journey: Journey
    state: int
    created_at: int

    @property
    def takes_in(self) -> bool:
        return self.state != journey_pb2.JOURNEY_STATE_CLOSED

    @property
    def paused(self) -> bool:
        return self.state == journey_pb2.JOURNEY_STATE_PAUSED


class Registry:
    """Current versions by (workspace, event type) and by id; older ones are read when a run on one goes on.

    What this replica publishes or deletes it knows at once; what others do it sees within a second.
    """

    name = "journey-registry"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._current: dict[str, Published] = {}
        self._by_trigger: dict[tuple[str, str], list[Published]] = {}
        self._versions: dict[tuple[str, int], Journey] = {}
        self._seen = 0
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            await self.refresh()
            await wait_for_any(self._clock, self._clock.now() + _EVERY, self._stopped)

    async def refresh(self) -> None:
        """Take in what was published or changed since the last time."""
        # Clocks of replicas differ a little, so the last seconds are read again.
        since = max(0, self._seen - 5 * SECOND)
        after = ""
        while True:
            page = await self._store.journeys.query("by_update", 1, at_least=since, limit=500, after=after)
            for document in page.documents:
                self.learn(document)
            after = page.next
            if not after:
                break
        if await self._store.journeys.count("by_update", 1) < len(self._current):
            await self._drop_deleted()

    async def _drop_deleted(self) -> None:
        known = dict(self._current)
        there = await self._store.journeys.get(known)
        # Not one that was published anew meanwhile.
        self._drop({key for key, old in known.items() if key not in there and self._current.get(key) is old})

    def forget(self, workspace_id: str) -> None:
        """Let go of a workspace's journeys."""
        self._drop({key for key in self._current if key.partition("/")[0] == workspace_id})

    def _drop(self, keys: set[str]) -> None:
        self._current = {key: published for key, published in self._current.items() if key not in keys}
        self._versions = {name: journey for name, journey in self._versions.items() if name[0] not in keys}
        self._index()

    def learn(self, document: Document) -> None:
        body = document.body
        self._seen = max(self._seen, body["updated"])
        workspace_id, _, journey_id = document.id.partition("/")
        known = self._current.get(document.id)
        if known and known.created_at != body["created"]:
            self._drop({document.id})
        elif known and (known.journey.version, known.state) == (body["version"], body["state"]):
            return
        journey = convert.journey_of(workspace_id, journey_id, body["version"], body)
        self._versions[document.id, journey.version] = journey
        self._current[document.id] = Published(journey, body["state"], body["created"])
        self._index()

    def _index(self) -> None:
        self._by_trigger = {}
        for published in self._current.values():
            key = (published.journey.workspace_id, published.journey.event_type)
            self._by_trigger.setdefault(key, []).append(published)

    def triggered_by(self, workspace_id: str, event_type: str) -> list[Published]:
        return self._by_trigger.get((workspace_id, event_type), [])

    def paused(self, journey_key: str) -> bool:
        published = self._current.get(journey_key)
        return published is not None and published.paused

    async def versions(self, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], Journey]:
        """Published versions by (`<workspace>/<journey_id>`, version), read once and then kept."""
        missing = {f"{key}/{version}": (key, version) for key, version in wanted - self._versions.keys()}
        if missing:
            for id_, document in (await self._store.journey_versions.get(missing)).items():
                key, version = missing[id_]
                workspace_id, _, journey_id = key.partition("/")
                self._versions[key, version] = convert.journey_of(workspace_id, journey_id, version, document.body)
        return {key: self._versions[key] for key in wanted if key in self._versions}
