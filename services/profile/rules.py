"""How each workspace tells people apart, in memory: read from the store once, and again when it changes."""

from __future__ import annotations

import asyncio

from camino.profile.v1 import profile_rules_pb2

from services.chassis.clock import SECOND, Clock, Instant, wait_for_any
from services.chassis.documents import Document
from services.profile.domain.rules import Rules
from services.profile.rules_definition import rules_of
from services.profile.store import Store

_LOOK_EVERY = SECOND
_OVERLAP = 10 * SECOND
"""Clocks of replicas differ, and what is written isn't seen at once: each look goes so far back."""


class Registry:
    """Rules by workspace. What this replica publishes or deletes it knows at once, what others do within a second."""

    name = "rules-registry"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._stopped = asyncio.Event()
        self._rules: dict[str, Rules] = {}
        self._changed: dict[str, Instant] = {}
        self._seen: Instant | None = None

    def rules(self, workspace_id: str) -> Rules:
        return self._rules.get(workspace_id) or Rules.default()

    async def loaded(self) -> None:
        """Return when what was published before is known."""
        if self._seen is not None:
            return
        seen: Instant = 0
        after = ""
        while True:
            # By their ids: an index may not have been made yet, and whoever waits for it must not end for that.
            page = await self._store.rules.scan(limit=100, after=after)
            for document in page.documents:
                self.adopt(document)
                seen = max(seen, document.body["changed"])
            after = page.next
            if not after:
                break
        self._seen = seen

    def adopt(self, document: Document) -> None:
        """Go by what is stored, unless something newer is known."""
        if document.body["changed"] <= self._changed.get(document.id, -1):
            return
        definition = profile_rules_pb2.ProfileRulesDefinition.FromString(document.body["definition"])
        self._rules[document.id] = rules_of(definition)
        self._changed[document.id] = document.body["changed"]

    def forget(self, workspace_id: str) -> None:
        """Go by nothing that a workspace had published."""
        self._rules.pop(workspace_id, None)
        self._changed.pop(workspace_id, None)

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            await self._look()
            await wait_for_any(self._clock, self._clock.now() + _LOOK_EVERY, self._stopped)

    async def _look(self) -> None:
        """Adopt what changed since the last look."""
        seen = self._seen or 0
        after = ""
        while True:
            page = await self._store.rules.query("by_change", 1, at_least=seen - _OVERLAP, limit=100, after=after)
            for document in page.documents:
                self.adopt(document)
                seen = max(seen, document.body["changed"])
            after = page.next
            if not after:
                break
        self._seen = seen
        if await self._store.rules.count("by_change", 1) < len(self._changed):
            await self._forget_deleted()

    async def _forget_deleted(self) -> None:
        known = dict(self._changed)
        there = await self._store.rules.get(known)
        for workspace_id in known.keys() - there.keys():
            # Not one that was published anew meanwhile.
            if self._changed.get(workspace_id) == known[workspace_id]:
                self.forget(workspace_id)
