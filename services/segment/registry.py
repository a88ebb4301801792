"""What is published, in memory: read from the store once, and again when it changes."""

from __future__ import annotations

import asyncio
from functools import partial

from services.chassis.clock import SECOND, Clock, Instant, wait_for_any
from services.chassis.documents import Document
from services.chassis.errors import NotFound
from services.segment import compiling, convert, definitions
from services.segment.catalogue import Catalogue
from services.segment.domain import Definition
from services.segment.rules import NO_RULES, Rules
from services.segment.store import Store

_LOOK_EVERY = SECOND
_OVERLAP = 10 * SECOND
"""Clocks of replicas differ, and what is written isn't seen at once: each look goes so far back."""


class Registry:
    """Catalogues and compiled rules by workspace.

    A change made by this replica is adopted at once, one made by another within a second: only catalogues that changed
    are read, and only definitions that are new are read and compiled. So it is with catalogues that are deleted.
    """

    name = "registry"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._stopped = asyncio.Event()
        self._ages: dict[str, tuple[int, int]] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._rules: dict[str, Rules] = {}
        self._definitions: dict[str, bytes] = {}
        self._seen: Instant | None = None

    def rules(self, workspace_id: str) -> Rules:
        return self._rules.get(workspace_id, NO_RULES)

    def catalogue(self, workspace_id: str) -> Catalogue:
        return self._catalogues.get(workspace_id, Catalogue())

    def definition(self, workspace_id: str, segment_id: str, etag: str) -> bytes:
        """A version's definition, as it was published. Raises `NotFound` if it was deleted meanwhile."""
        definition = self._definitions.get(convert.definition_key(workspace_id, segment_id, etag))
        if definition is None:
            raise NotFound.of("segment", segment_id)
        return definition

    async def loaded(self) -> None:
        """Return when what was published before is known."""
        if self._seen is None:
            await self._look()

    async def refresh(self, workspace_id: str) -> Catalogue:
        """What is published in a workspace now."""
        found = await self._store.catalogues.get([workspace_id])
        if document := found.get(workspace_id):
            await self.adopt(document)
        else:
            self.forget(workspace_id)
        return self.catalogue(workspace_id)

    def forget(self, workspace_id: str) -> None:
        """Serve nothing of a workspace any more."""
        for known in (self._ages, self._catalogues, self._rules):
            known.pop(workspace_id, None)

    async def adopt(self, document: Document) -> None:
        """Serve what a catalogue says, unless a newer one is served."""
        workspace_id = document.id
        catalogue = convert.catalogue_of(document.body)
        keys = {
            convert.definition_key(workspace_id, segment_id, version.etag)
            for segment_id, head in catalogue.heads.items()
            for version in (head.serving, head.upcoming, head.former)
            if version
        }
        found = await self._store.definitions.get([key for key in keys if key not in self._definitions])
        # From here on nothing waits, so that catalogue and rules are of one edition.
        if not self._is_news(document):
            return
        self._definitions.update((key, filed.body["definition"]) for key, filed in found.items())
        if not keys <= self._definitions.keys():
            return  # Filed before it serves, so the workspace is being deleted.
        before = self.rules(workspace_id)
        if catalogue.edition != before.edition:
            self._rules[workspace_id] = compiling.rules(catalogue, before, partial(self._read, workspace_id))
        self._catalogues[workspace_id] = catalogue
        self._ages[workspace_id] = catalogue.edition, document.rev

    def _read(self, workspace_id: str, segment_id: str, etag: str) -> Definition:
        return definitions.definition_of(convert.definition_wire(self.definition(workspace_id, segment_id, etag)))

    def _is_news(self, document: Document) -> bool:
        """Whether a catalogue is newer than the one that's served: of a later edition, or else of a later revision."""
        return self._ages.get(document.id, (-1, 0)) < (document.body["edition"], document.rev)

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
                if self._is_news(document):
                    await self.adopt(document)
                seen = max(seen, document.body["changed_at"])
            after = page.next
            if not after:
                break
        self._seen = seen
        if await self._store.catalogues.count("by_change", 1) < len(self._catalogues):
            await self._forget_deleted()

    async def _forget_deleted(self) -> None:
        known = dict(self._catalogues)
        there = await self._store.catalogues.get(known)
        for workspace_id in known.keys() - there.keys():
            # Not one that was published anew meanwhile.
            if self._catalogues.get(workspace_id) is known[workspace_id]:
                self.forget(workspace_id)
