"""Ends of messages, brought home to the runs and shards that owed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from camino.channels.v1.channels_events_pb2 import MessageSettled

from services.chassis.consumer import Dead, Retry
from services.chassis.documents import Collection, Document, change
from services.orchestrator.campaigns.shard import settle_shard
from services.orchestrator.convert import Body
from services.orchestrator.runner import settle_run
from services.orchestrator.store import Store

How = Callable[[Body, list[MessageSettled]], Body | None]
"""From a document's body and ended messages of it to the body to store; None if all was known."""


class Settling:
    """Handles MessageSettled in batches: one read and one write for the runs, and for the shards."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def settled(self, messages: list[MessageSettled]) -> Mapping[int, Retry | Dead]:
        by_document: dict[str, dict[str, list[MessageSettled]]] = {"run": {}, "shard": {}}
        dead: dict[int, Retry | Dead] = {}
        for index, message in enumerate(messages):
            kind, _, name = message.source_key.partition(":")
            if kind in by_document:
                by_document[kind].setdefault(f"{message.workspace_id}/{name}", []).append(message)
            else:
                dead[index] = Dead(f"INVALID_FIELD: source_key {message.source_key!r} names neither a run nor a shard")
        await self._settle(self._store.runs, by_document["run"], settle_run)
        await self._settle(self._store.shards, by_document["shard"], settle_shard)
        return dead

    async def _settle(self, collection: Collection, by_document: Mapping[str, list[MessageSettled]], how: How) -> None:
        if not by_document:
            return

        def decide(id_: str, document: Document | None) -> Body | None:
            return how(document.body, by_document[id_]) if document else None

        await change(collection, by_document, decide)
