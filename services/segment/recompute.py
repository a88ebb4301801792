"""A newly published version, evaluated over everyone: in pages, resumable, in the background."""

from __future__ import annotations

from collections.abc import Callable

from camino.segment.v1 import segment_pb2

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.segment import convert
from services.segment.convert import Body
from services.segment.registry import Registry
from services.segment.store import Store
from services.segment.streaming import Streaming

_PAGE = 500
_PAGES_PER_STEP = 10


class Recompute:
    """Moves computations along, some pages each time they wake. The cursor is kept with the segment, so that another
    process goes on where one died.

    Profiles that change meanwhile are evaluated by the new version as they stream in, and found to be up to date when
    their page comes.
    """

    def __init__(
        self, store: Store, registry: Registry, streaming: Streaming, clock: Clock, hint: Callable[[int, int], None]
    ) -> None:
        self._store = store
        self._registry = registry
        self._streaming = streaming
        self._clock = clock
        self._hint = hint

    async def woken(self, due: list[Document]) -> None:
        for document in due:
            await self._step(document)

    async def _step(self, document: Document) -> None:
        self._registry.learn(document)
        workspace_id = document.id.partition("/")[0]
        segment = convert.compiled(document.id.partition("/")[2], document.body)
        body: Body = dict(document.body)
        for _ in range(_PAGES_PER_STEP):
            page = await self._store.facts.scan(prefix=f"{workspace_id}/", after=body["cursor"], limit=_PAGE)
            await self._streaming.recompute(segment, page.documents)
            body["computed"] += len(page.documents)
            body["cursor"] = page.next
            if not page.next:
                body.update(state=segment_pb2.SEGMENT_STATE_READY, compute_at=None, updated=self._clock.now())
                break
        # If a newer version was published meanwhile, that one's computation holds.
        outcome = await self._store.segments.put([Document(document.id, body, document.rev)])
        if outcome.saved and body["compute_at"] is not None:
            self._hint(body["partition"], self._clock.now())
