"""What is published, in memory: read from the store once, and again when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
_HOLDS = 10 * SECOND
"""A replica that hasn't looked for so long, because it was held up, looks again before it goes on."""
_SUPERSEDED = 1_000
"""Definitions that are remembered though no catalogue names them: of those somebody may be telling just now."""


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
        self._named: dict[str, dict[str, bytes]] = {}
        """The definitions that the catalogues name, by workspace."""
        self._superseded: dict[str, bytes] = {}
        self._seen: Instant = 0
        self._looked_at: Instant | None = None

    def rules(self, workspace_id: str) -> Rules:
        return self._rules.get(workspace_id, NO_RULES)

    def catalogue(self, workspace_id: str) -> Catalogue:
        return self._catalogues.get(workspace_id, Catalogue())

    def definition(self, workspace_id: str, segment_id: str, etag: str) -> bytes:
        """A version's definition, as it was published. Raises `NotFound` if it was deleted meanwhile."""
        key = convert.definition_key(workspace_id, segment_id, etag)
        definition = self._named.get(workspace_id, {}).get(key) or self._superseded.get(key)
        if definition is None:
            raise NotFound.of("segment", segment_id)
        return definition

    async def loaded(self) -> None:
        """Return when what was published up to some seconds ago is known, also after we were held up for long."""
        if self._looked_at is None or self._looked_at + _HOLDS < self._clock.now():
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
        for known in (self._ages, self._catalogues, self._rules, self._named):
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
        found = await self._store.definitions.get(keys - self._named.get(workspace_id, {}).keys())
        # From here on nothing waits, so that catalogue and rules are of one edition.
        read = {key: filed.body["definition"] for key, filed in found.items()}
        if not self._is_news(document):
            # Who has published it tells of it all the same.
            self._remember(read)
            return
        named = self._named.get(workspace_id, {})
        known = named | read
        if not keys <= known.keys():
            return  # Filed before it serves, so the workspace is being deleted.
        self._named[workspace_id] = {key: known[key] for key in keys}
        self._remember({key: named[key] for key in named.keys() - keys})
        before = self.rules(workspace_id)
        if catalogue.edition != before.edition:
            self._rules[workspace_id] = compiling.rules(catalogue, before, partial(self._read, workspace_id))
        self._catalogues[workspace_id] = catalogue
        self._ages[workspace_id] = catalogue.edition, document.rev

    def _remember(self, superseded: Mapping[str, bytes]) -> None:
        """Keep definitions that no catalogue names, for a while."""
        self._superseded |= superseded
        while len(self._superseded) > _SUPERSEDED:
            del self._superseded[next(iter(self._superseded))]

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
        now = self._clock.now()
        seen = self._seen
        # What was written by a clock that's ahead must not hide what came after the last look.
        since = min(seen, self._looked_at or 0) - _OVERLAP
        after = ""
        while True:
            page = await self._store.catalogues.query("by_change", 1, at_least=since, limit=100, after=after)
            for document in page.documents:
                if self._is_news(document):
                    await self.adopt(document)
                seen = max(seen, document.body["changed_at"])
            after = page.next
            if not after:
                break
        self._seen, self._looked_at = seen, now
        if await self._store.catalogues.count("by_change", 1) < len(self._catalogues):
            await self._forget_deleted()

    async def _forget_deleted(self) -> None:
        known = dict(self._catalogues)
        there = await self._store.catalogues.get(known)
        for workspace_id in known.keys() - there.keys():
            # Not one that was published anew meanwhile.
            if self._catalogues.get(workspace_id) is known[workspace_id]:
                self.forget(workspace_id)
