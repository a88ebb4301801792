"""What is published, in memory: read from the store once, and again when it changes."""

from __future__ import annotations

import asyncio

from services.chassis.clock import SECOND, Clock, Instant, wait_for_any
from services.chassis.documents import Document
from services.segment import convert
from services.segment.catalogue import Catalogue
from services.segment.rules import NO_RULES, Published, Rules
from services.segment.store import Store

_LOOK_EVERY = SECOND
_OVERLAP = 10 * SECOND
"""Clocks of replicas differ, and what is written isn't seen at once: each look goes so far back."""


class Registry:
    """Catalogues and compiled rules by workspace.

    A change made by this replica is adopted at once, one made by another within a second: only catalogues that changed
    are read, and only definitions that are new are read and compiled.
    """

    name = "registry"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._stopped = asyncio.Event()
        self._revisions: dict[str, int] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._rules: dict[str, Rules] = {}
        self._definitions: dict[str, bytes] = {}
        self._seen: Instant | None = None

    def rules(self, workspace_id: str) -> Rules:
        return self._rules.get(workspace_id, NO_RULES)

    def definition(self, workspace_id: str, segment_id: str, etag: str) -> bytes:
        """A serving version's definition, as it was published."""
        return self._definitions[convert.definition_key(workspace_id, segment_id, etag)]

    async def loaded(self) -> None:
        """Return when what was published before is known."""
        if self._seen is None:
            await self._look()

    async def refresh(self, workspace_id: str) -> Catalogue:
        """What is published in a workspace now."""
        found = await self._store.catalogues.get([workspace_id])
        if document := found.get(workspace_id):
            await self.adopt(document)
        return self._catalogues.get(workspace_id, Catalogue())

    async def adopt(self, document: Document) -> None:
        """Serve what a catalogue says, unless a newer one is served."""
        workspace_id = document.id
        catalogue = convert.catalogue_of(document.body)
        keys = {
            convert.definition_key(workspace_id, segment_id, head.etag): segment_id
            for segment_id, head in catalogue.heads.items()
        }
        found = await self._store.definitions.get([key for key in keys if key not in self._definitions])
        # From here on nothing waits, so that catalogue and rules are of one edition.
        if self._revisions.get(workspace_id, 0) >= document.rev:
            return
        self._definitions.update((key, filed.body["definition"]) for key, filed in found.items())
        before = self.rules(workspace_id)
        if catalogue.edition != before.edition:
            segments = []
            for key, segment_id in keys.items():
                head, serving = catalogue.heads[segment_id], before.by_id.get(segment_id)
                if serving is None or serving.edition != head.edition:
                    definition = convert.definition_of(convert.definition_wire(self._definitions[key]))
                    serving = Published.of(segment_id, head.version, head.edition, definition)
                segments.append(serving)
            self._rules[workspace_id] = Rules(catalogue.edition, segments)
        self._catalogues[workspace_id] = catalogue
        self._revisions[workspace_id] = document.rev

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
            page = await self._store.catalogues.query("by_change", 1, at_least=seen - _OVERLAP, limit=100, after=after)
            for document in page.documents:
                if self._revisions.get(document.id, 0) < document.rev:
                    await self.adopt(document)
                seen = max(seen, document.body["changed_at"])
            after = page.next
            if not after:
                break
        self._seen = seen
