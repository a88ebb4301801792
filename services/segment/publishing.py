"""Publishing a definition as a segment's newest version."""

from __future__ import annotations

from collections.abc import Callable

from camino.segment.v1 import segment_service_pb2

from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.errors import InvalidDefinition
from services.chassis.ids import partition_of
from services.segment import convert, definitions
from services.segment.catalogue import Head
from services.segment.references import references
from services.segment.registry import Registry
from services.segment.store import Store


class Publishing:
    """`computing` is told of a workspace's partition and the instant from which there is something to compute."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        partitions: int,
        computing: Callable[[int, Instant], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self._computing = computing

    async def publish(self, request: segment_service_pb2.PublishSegmentRequest) -> Head:
        """What is published of the segment now. Raises `InvalidDefinition`, naming all that is wrong, and
        `EtagMismatch`."""
        definition, violations = definitions.read(request.definition)
        wanted = references(definition.condition, "definition.condition")
        workspace_id, segment_id = request.workspace_id, request.segment_id
        data, etag = convert.serialized(request.definition)
        now = self._clock.now()
        partition = partition_of(workspace_id, self._partitions)

        def publish(_id: str, document: Document | None) -> convert.Body | None:
            before = convert.catalogue_of(document.body if document else None)
            if violations:
                raise InvalidDefinition([*violations, *before.problems(segment_id, wanted)])
            after = before.with_published(segment_id, etag, request.etag, now, wanted)
            if after is before:
                return None
            return {**convert.catalogue_body(after, now), "partition": partition, "compute_at": now}

        known = await self._store.catalogues.get([workspace_id])
        if publish(workspace_id, known.get(workspace_id)):
            # Filed before it serves, so that a catalogue never names what isn't there.
            key = convert.definition_key(workspace_id, segment_id, etag)
            await self._store.definitions.put([Document(key, {"definition": data})])
        written = (await change(self._store.catalogues, [workspace_id], publish, known=known))[workspace_id]
        await self._registry.adopt(written)
        self._computing(partition, now)
        return convert.catalogue_of(written.body).heads[segment_id]
