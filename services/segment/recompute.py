"""After a publication: evaluate every profile by the new version, in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.due import Due
from services.chassis.telemetry import Telemetry
from services.segment import convert
from services.segment.measures import COMPUTING
from services.segment.outbox import Outbox
from services.segment.profiles import Profiles
from services.segment.registry import Registry
from services.segment.store import SWEEP_AFTER, Store

_SETTLE = 30 * SECOND


class Recompute:
    """A loop that acts on catalogues whose `compute_at` has come.

    Which profiles are left is not a cursor but an index: those whose edition is below the catalogue's. So a crash
    anywhere leaves nothing to repeat and nothing out, progress is a count, and one pass serves all that was published.
    """

    name = "recompute"

    def __init__(
        self,
        store: Store,
        registry: Registry,
        profiles: Profiles,
        outbox: Outbox,
        clock: Clock,
        partitions: int,
        held: Callable[[], Iterable[int]],
        telemetry: Telemetry | None = None,
        *,
        page: int = 500,
    ) -> None:
        self._store = store
        self._registry = registry
        self._profiles = profiles
        self._outbox = outbox
        self._clock = clock
        self._partitions = partitions
        self._held = held
        self._page = page
        self._stopped = False
        self._due = Due(
            self.name,
            store.catalogues,
            "compute",
            "compute_at",
            held=held,
            clock=clock,
            act=self.act,
            limit=10,
            telemetry=telemetry,
        )
        if telemetry is not None:
            telemetry.metrics.read(COMPUTING, self._computing)

    def hint(self, partition: int, at: Instant) -> None:
        """Say that a catalogue of this partition is due at `at`."""
        self._due.hint(partition, at)

    async def _computing(self) -> Mapping[tuple[str, ...], float]:
        return {(): sum([await self._store.catalogues.count("compute", partition) for partition in self._held()])}

    def stop(self) -> None:
        """End after the page in hand; what is left stays due."""
        self._stopped = True
        self._due.stop()

    async def run(self) -> None:
        await self._due.run()

    async def act(self, documents: list[Document]) -> None:
        for document in documents:
            await self._compute(document.id)

    async def _compute(self, workspace_id: str) -> None:
        edition = (await self._registry.refresh(workspace_id)).edition
        while await self.step(workspace_id, edition):
            # Without the edition, because its workspace is being deleted, no step would be the last.
            if self._stopped or self._registry.rules(workspace_id).edition < edition:
                return
        await self._publish_rest(workspace_id)
        now = self._clock.now()

        def computed(_id: str, document: Document | None) -> dict[str, Any] | None:
            if document is None:
                return None
            catalogue = convert.catalogue_of(document.body).with_computed(edition)
            body = {**document.body, **convert.catalogue_body(catalogue, now)}
            if catalogue.edition == edition:
                if body.pop("checked", None) == edition:
                    del body["compute_at"]
                else:
                    # A replica that hadn't heard of the edition may have been writing a new profile meanwhile.
                    body.update(checked=edition, compute_at=now + _SETTLE)
            return body

        written = await change(self._store.catalogues, [workspace_id], computed)
        for document in written.values():
            await self._registry.adopt(document)

    async def step(self, workspace_id: str, edition: int) -> bool:
        """Evaluate one page of the profiles that are behind an edition, and publish what follows. Whether there may be
        more."""
        page = await self._store.facts.query("by_edition", workspace_id, below=edition, limit=self._page)
        known = {document.id: document for document in page.documents}
        await self._outbox.deliver((await self._profiles.record(known, known=known)).owing)
        return bool(page.next)

    async def _publish_rest(self, workspace_id: str) -> None:
        """Publish what others, or we before a crash, evaluated and haven't published: who reads that a segment is
        ready will read its members next."""
        written_until_now = self._clock.now() + SWEEP_AFTER + 1
        for partition in range(self._partitions):
            after = ""
            while True:
                page = await self._store.facts.query(
                    "outbox", partition, below=written_until_now, limit=self._page, after=after
                )
                await self._outbox.deliver(
                    [document for document in page.documents if document.body["workspace"] == workspace_id]
                )
                after = page.next
                if not after:
                    break
