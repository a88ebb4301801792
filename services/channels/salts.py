"""What endpoints are hashed with: a random salt for each workspace, made once."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping

from services.chassis import documents
from services.chassis.clock import SECOND, Instant
from services.chassis.documents import Document

_BYTES = 32
_LOOK_EVERY = SECOND


class Salts:
    """A salt never changes for as long as it's there, so it's kept in memory: it may be deleted with its workspace,
    and another one made by another replica, so it's looked at once a second."""

    def __init__(self, collection: documents.Collection) -> None:
        self._collection = collection
        self._kept: dict[str, tuple[bytes, Instant]] = {}

    def forget(self, workspace_id: str) -> None:
        """Let go of a workspace's salt, so that it's looked for in the store the next time."""
        self._kept.pop(workspace_id, None)

    async def of(self, workspace_ids: Collection[str], now: Instant) -> Mapping[str, bytes]:
        """The salts of some workspaces. Those that have none yet get one: then nobody has to look again and again
        whether there is one."""
        seen_after = now - _LOOK_EVERY
        stale = {id_ for id_ in workspace_ids if id_ not in self._kept or self._kept[id_][1] <= seen_after}
        while stale:
            found = await self._collection.get(stale)
            self._kept.update({id_: (document.body["salt"], now) for id_, document in found.items()})
            stale -= found.keys()
            if stale:
                await self._collection.put([Document(id_, {"salt": secrets.token_bytes(_BYTES)}) for id_ in stale])
        return {id_: self._kept[id_][0] for id_ in workspace_ids}
