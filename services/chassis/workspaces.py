"""Deleting a workspace: everything that one service holds of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from services.chassis.broker import Broker, StreamSpec
from services.chassis.documents import Collection, Database, Owner, Schema
from services.chassis.errors import FailedPrecondition

log = structlog.get_logger()

_PAGE = 200
"""Documents that are read, and deleted, at once: some of them are large."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """How much was there."""

    documents: int
    facts: int


class Workspaces:
    """Deletes workspaces from a service's collections, one after the other in the order of `schemas`, and then from its
    streams.

    What others begin or refer to is deleted after what begins or refers to it: so whatever is left by a deletion that
    was broken off makes sense, drives nothing anew, and is deleted by the next one. `deletable` is a regular expression
    for the whole id of the workspaces that may be deleted.
    """

    def __init__(
        self,
        database: Database,
        schemas: Sequence[Schema],
        broker: Broker,
        streams: Sequence[StreamSpec],
        deletable: str,
    ) -> None:
        self._collections = [database.collection(schema) for schema in schemas if schema.owner is Owner.WORKSPACE]
        self._broker = broker
        self._streams = streams
        self._deletable = deletable

    async def delete(self, workspace_id: str, forget: Callable[[str], None]) -> Deleted:
        """Delete what there is of a workspace, once through all of it: what comes meanwhile may be left.

        `forget` is told to let go of what this process remembers of the workspace, each time that a collection is done.
        Raises `FailedPrecondition` (WORKSPACE_PROTECTED), `StoreUnavailable` and `BrokerUnavailable`; the last two, and
        a deadline, leave it partly done, to be repeated.
        """
        if not re.fullmatch(self._deletable, workspace_id):
            raise FailedPrecondition(
                f"workspace {workspace_id!r} is protected: only those that match CAMINO_DELETABLE_WORKSPACES, which is"
                f" {self._deletable!r} here, can be deleted",
                reason="WORKSPACE_PROTECTED",
                workspace_id=workspace_id,
            )
        documents = 0
        for collection in self._collections:
            documents += await _sweep(collection, workspace_id)
            forget(workspace_id)
        facts = sum([await self._broker.purge(stream, workspace_id) for stream in self._streams])
        log.info("workspace deleted", workspace=workspace_id, documents=documents, facts=facts)
        return Deleted(documents, facts)


async def _sweep(collection: Collection, workspace_id: str) -> int:
    """Delete a workspace's documents, from the first to the last. How many there were."""
    deleted = await collection.delete([workspace_id])
    after = ""
    while True:
        # Going on from page to page, so that it ends even where documents come as fast as they go.
        page = await collection.scan(limit=_PAGE, after=after, prefix=f"{workspace_id}/")
        deleted += await collection.delete([document.id for document in page.documents])
        after = page.next
        if not after:
            return deleted
