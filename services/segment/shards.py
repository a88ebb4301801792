"""Carrying out what a rollout asks for: a page of a partition's profiles at a time.

A request stands for one page. When that is evaluated and told, the next page is asked for, and only then is the request
acknowledged: so the work goes on after any crash, goes to whoever holds the partition, and takes turns with that of
other workspaces. Done twice, it finds nothing left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from camino.segment.v1.segment_events_pb2 import EvaluationRequested

from services.chassis.clock import Clock, Instant
from services.chassis.consumer import Dead, Retry
from services.chassis.documents import Document, change
from services.chassis.events import Outgoing, Publisher
from services.segment import convert
from services.segment.catalogue import Catalogue
from services.segment.outbox import Outbox
from services.segment.profiles import Profiles
from services.segment.registry import Registry
from services.segment.rollout import following_on
from services.segment.store import Store

Shard = tuple[str, int]
"""A workspace's profiles in one partition."""
_SIDE_BY_SIDE = 3
"""Pages at a time: while the store reads one and writes another, a third is evaluated. Not more of them, so that what
is asked inside a request waits for no more than a few milliseconds."""


class Shards:
    """Handles EvaluationRequested. `finished` is told of a catalogue's partition and the instant when nothing is left
    in one of its shards."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        profiles: Profiles,
        outbox: Outbox,
        publisher: Publisher,
        clock: Clock,
        finished: Callable[[int, Instant], None],
        *,
        page: int = 100,
    ) -> None:
        self._store = store
        self._registry = registry
        self._profiles = profiles
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._finished = finished
        self._page = page
        self._asked: dict[Shard, tuple[int, str]] = {}
        """The newest computation that each shard was seen to be asked for, until it has nothing left."""

    async def handle(self, messages: list[EvaluationRequested]) -> Mapping[int, Retry | Dead]:
        following: list[Outgoing] = []
        finished: set[str] = set()
        asked = self._newest(messages)
        turns = asyncio.Semaphore(_SIDE_BY_SIDE)
        steps = await asyncio.gather(
            *(self._step(message, turns) for message in asked.values()), return_exceptions=True
        )
        for (shard, message), more in zip(asked.items(), steps, strict=True):
            if isinstance(more, BaseException):
                raise more
            if more:
                following.append(following_on(message))
            else:
                finished.add(message.workspace_id)
                self._asked.pop(shard, None)
        await self._publisher.publish(following)
        if finished:
            await self._say_finished(finished)
        return {}

    def _newest(self, messages: list[EvaluationRequested]) -> Mapping[Shard, EvaluationRequested]:
        """What is to be done, without what was asked for once more since: that goes on until nothing is left."""
        newest: dict[Shard, EvaluationRequested] = {}
        for message in messages:
            shard, asked = (message.workspace_id, message.partition), (message.edition, message.computation_id)
            if asked >= self._asked.get(shard, asked):
                self._asked[shard], newest[shard] = asked, message
        return newest

    async def _step(self, message: EvaluationRequested, turns: asyncio.Semaphore) -> bool:
        """Evaluate a page when its turn has come. Whether there may be more."""
        async with turns:
            return await self._evaluate(message)

    async def _evaluate(self, message: EvaluationRequested) -> bool:
        """Evaluate a page of the profiles that are behind, or that a switch changes, and tell what follows. Whether
        there may be more."""
        workspace_id, partition = message.workspace_id, message.partition
        catalogue = self._registry.catalogue(workspace_id)
        if catalogue.edition < message.edition:
            catalogue = await self._registry.refresh(workspace_id)
        if not catalogue.heads:
            return False  # The workspace was deleted.
        page = await self._store.facts.query(
            "by_edition", workspace_id, partition, below=catalogue.demanded, limit=self._page
        )
        left = page.documents or await self._differing(workspace_id, partition, catalogue)
        known = {document.id: document for document in left}
        await self._outbox.deliver((await self._profiles.record(known, known=known)).owing)
        return bool(known)

    async def _differing(self, workspace_id: str, partition: int, catalogue: Catalogue) -> list[Document]:
        """A page of the profiles that a switch changes. Of those that know of it already, it's a version which was held
        up, and is still to come, that says otherwise."""
        if not (switched := catalogue.switched):
            return []
        after = ""
        while True:
            page = await self._store.facts.query(
                "differing",
                convert.differing_in(workspace_id, partition),
                below=switched + 1,
                limit=self._page,
                after=after,
            )
            behind = [document for document in page.documents if document.body["edition"] < catalogue.edition]
            after = page.next
            if behind or not after:
                return behind

    async def _say_finished(self, workspace_ids: set[str]) -> None:
        now = self._clock.now()

        def due(_id: str, document: Document | None) -> convert.Body | None:
            if document is None or "compute_at" not in document.body:
                return None
            # Written also where it's due already: whoever is looking at it now sees that there was something.
            return {**document.body, "compute_at": min(document.body["compute_at"], now)}

        for document in (await change(self._store.catalogues, workspace_ids, due)).values():
            self._finished(document.body["partition"], now)
