"""From a publication to the instant when the segment is ready: what is left to do, and who is asked to do it.

What is left isn't a cursor but an index: the profiles that are behind an edition, and after a switch those that it
changes. So a crash anywhere leaves nothing to repeat and nothing out, progress is a count, and one pass serves all that
was published. The work itself is asked for over the broker, partition by partition: see `shards`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from camino.segment.v1.segment_events_pb2 import EvaluationRequested

from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.due import Due
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.telemetry import Telemetry
from services.segment import convert
from services.segment.catalogue import Catalogue
from services.segment.measures import COMPUTING
from services.segment.outbox import Outbox
from services.segment.registry import Registry
from services.segment.store import SWEEP_AFTER, Store

_SETTLE = 30 * SECOND
"""After so long every replica has heard of an edition, or looks for one before it lets go of what it writes: see
`Registry.loaded`."""
_LOOK = 30 * SECOND
"""How long work that was asked for may take without a word, until it's looked after."""
_PAGE = 500

Become = Callable[[Instant, Catalogue], tuple[Catalogue, dict[str, Any]]]
"""From now and the catalogue that's found to the one that it becomes, and fields of its document besides; None takes a
field away."""


class Rollout:
    """A loop that acts on catalogues whose `compute_at` has come."""

    name = "rollout"

    def __init__(
        self,
        store: Store,
        registry: Registry,
        outbox: Outbox,
        publisher: Publisher,
        clock: Clock,
        partitions: int,
        held: Callable[[], Iterable[int]],
        telemetry: Telemetry | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._partitions = partitions
        self._held = held
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

    def stop(self) -> None:
        self._due.stop()

    async def run(self) -> None:
        await self._due.run()

    async def act(self, documents: list[Document]) -> None:
        for document in documents:
            await self._go_on(document)

    async def _go_on(self, document: Document) -> None:
        """Take the next step that can be taken, and ask for what is left to do."""
        workspace_id = document.id
        seen = convert.catalogue_of(document.body)
        await self._registry.adopt(document)
        computed = await self._computed(workspace_id, seen)
        if seen.with_switched(computed, 0) is not seen:
            await self._write(document, lambda now, found: (found.with_switched(computed, now), {"compute_at": now}))
            return
        differing = await self._differing(workspace_id, seen)
        if not differing and seen.with_ready(computed, seen.edition) is not seen:
            await self._publish_rest(workspace_id)
            await self._write(
                document,
                lambda now, found: (found.with_ready(computed, seen.edition), {"compute_at": now}),
            )
            return
        left = differing | await self._behind(workspace_id, seen.demanded)
        if left:
            asked, asked_at = document.body.get("asked", (0, 0))
            if asked != seen.edition or asked_at + _LOOK <= self._clock.now():
                asked_at = await self._ask(workspace_id, seen, left)
            fields = {"asked": [seen.edition, asked_at], "compute_at": asked_at + _LOOK, "settling": None}
        elif seen.awaited:
            # What was left a moment ago isn't any more: somebody was touched meanwhile.
            fields = {"compute_at": self._clock.now()}
        else:
            fields = _settled(document.body.get("settling", (0, 0)), seen.edition, self._clock.now())
        await self._write(document, lambda now, found: (found, fields))

    async def _computed(self, workspace_id: str, catalogue: Catalogue) -> int:
        """The greatest edition of an awaited version at which every profile has been evaluated; 0 if there is none. So
        what is published in quick succession comes to serve by and by, and not only when there is an end to it."""
        computed = 0
        for edition in catalogue.awaited:
            if await self._behind(workspace_id, edition):
                break
            computed = edition
        return computed

    async def _behind(self, workspace_id: str, edition: int) -> set[int]:
        """The partitions with profiles that haven't been evaluated at an edition."""
        return {
            partition
            for partition in range(self._partitions)
            if await self._store.facts.count("by_edition", workspace_id, partition, below=edition)
        }

    async def _differing(self, workspace_id: str, catalogue: Catalogue) -> set[int]:
        """The partitions with profiles that haven't been told what a switch changes for them."""
        if not catalogue.switched:
            return set()
        return {
            partition
            for partition in range(self._partitions)
            if await self._store.facts.count(
                "differing", convert.differing_in(workspace_id, partition), below=catalogue.switched + 1
            )
        }

    async def _ask(self, workspace_id: str, catalogue: Catalogue, partitions: Iterable[int]) -> Instant:
        now = self._clock.now()
        await self._publisher.publish(
            [request(workspace_id, f"{catalogue.edition}-{now}", number, catalogue.edition) for number in partitions]
        )
        return now

    async def _write(self, seen: Document, become: Become) -> None:
        """Write how the rollout goes on, by what was `seen` of the catalogue. It's due again at once if anything has
        been written there meanwhile: something was published, or a shard was finished."""

        def decide(_id: str, document: Document | None) -> convert.Body | None:
            if document is None:
                return None
            now = self._clock.now()
            found = convert.catalogue_of(document.body)
            catalogue, fields = become(now, found)
            body = {**document.body, **fields}
            if document.rev != seen.rev:
                body["compute_at"] = now
            if catalogue != found:
                body |= convert.catalogue_body(catalogue, now)
            return {name: value for name, value in body.items() if value is not None}

        written = await change(self._store.catalogues, [seen.id], decide)
        for document in written.values():
            await self._registry.adopt(document)
            if (at := document.body.get("compute_at")) is not None:
                self.hint(document.body["partition"], at)

    async def _publish_rest(self, workspace_id: str) -> None:
        """Publish what others, or we before a crash, evaluated and haven't published: who reads that a segment is
        ready will read its members next."""
        written_until_now = self._clock.now() + SWEEP_AFTER + 1
        for partition in range(self._partitions):
            after = ""
            while True:
                page = await self._store.facts.query(
                    "outbox", partition, below=written_until_now, limit=_PAGE, after=after
                )
                await self._outbox.deliver(
                    [document for document in page.documents if document.body["workspace"] == workspace_id]
                )
                after = page.next
                if not after:
                    break

    async def _computing(self) -> Mapping[tuple[str, ...], float]:
        return {(): sum([await self._store.catalogues.count("compute", partition) for partition in self._held()])}


def _settled(settling: tuple[int, Instant], edition: int, now: Instant) -> dict[str, Any]:
    """What to write when nothing is left to do: look once more when every replica has heard of the edition. One that
    hadn't may be writing a profile meanwhile."""
    of, settles_at = settling
    if of != edition:
        settles_at = now + _SETTLE
    elif settles_at <= now:
        return {"asked": None, "settling": None, "compute_at": None}
    return {"settling": [edition, settles_at], "compute_at": settles_at}


def request(workspace_id: str, computation_id: str, partition: int, edition: int, step: int = 0) -> Outgoing:
    """Asks for a page of what is left to do in a partition."""
    message = EvaluationRequested(
        workspace_id=workspace_id, computation_id=computation_id, partition=partition, edition=edition, step=step
    )
    subject = subject_of(EvaluationRequested, workspace_id, partition, computation_id)
    return Outgoing(subject, message, f"{workspace_id}/{computation_id}/{partition}/{step}")


def following_on(done: EvaluationRequested) -> Outgoing:
    """Asks for the page after one that is done."""
    return request(done.workspace_id, done.computation_id, done.partition, done.edition, done.step + 1)
