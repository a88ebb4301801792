"""The published segments, compiled, in memory, and by what touches them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from services.chassis.clock import SECOND, Clock, wait_for_any
from services.chassis.documents import Document
from services.segment import convert
from services.segment.store import Store
from services.segment.tracking import Segment

EVERY = SECOND


class Registry:
    """What this replica publishes it knows at once; what others publish it sees within a second."""

    name = "segment-registry"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._segments: dict[str, dict[str, Segment]] = {}
        self._by_event: dict[tuple[str, str], list[Segment]] = {}
        self._by_attribute: dict[tuple[str, str], list[Segment]] = {}
        self._seen = 0
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            await self.refresh()
            await wait_for_any(self._clock, self._clock.now() + EVERY, self._stopped)

    async def refresh(self) -> None:
        """Take in what was published since the last time."""
        # Clocks of replicas differ a little, so the last seconds are read again.
        since, after = max(0, self._seen - 5 * SECOND), ""
        while True:
            page = await self._store.segments.query("by_update", 1, at_least=since, limit=500, after=after)
            for document in page.documents:
                self.learn(document)
            after = page.next
            if not after:
                return

    def learn(self, document: Document) -> None:
        self._seen = max(self._seen, document.body["updated"])
        workspace_id, _, segment_id = document.id.partition("/")
        known = self._segments.get(workspace_id, {}).get(segment_id)
        if known and known.version == document.body["version"]:
            return
        self._segments.setdefault(workspace_id, {})[segment_id] = convert.compiled(segment_id, document.body)
        self._by_event, self._by_attribute = {}, {}
        for workspace, segments in self._segments.items():
            for segment in segments.values():
                for event_type in segment.event_types:
                    self._by_event.setdefault((workspace, event_type), []).append(segment)
                for attribute in segment.attributes:
                    self._by_attribute.setdefault((workspace, attribute), []).append(segment)

    def of(self, workspace_id: str) -> Mapping[str, Segment]:
        """All segments of a workspace, by id."""
        return self._segments.get(workspace_id, {})

    def touched_by_event(self, workspace_id: str, event_type: str) -> list[Segment]:
        return self._by_event.get((workspace_id, event_type), [])

    def touched_by_attributes(self, workspace_id: str, names: Iterable[str]) -> list[Segment]:
        found = {
            segment.segment_id: segment
            for name in names
            for segment in self._by_attribute.get((workspace_id, name), ())
        }
        return list(found.values())
