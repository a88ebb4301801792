"""What must not be sent to: endpoints in plain, with a reason; people who were erased, and their endpoints by no more
than a hash.

The hash is BLAKE2b (RFC 7693) over workspace, channel and endpoint, with the workspace's salt as its key: it's as good
for this as HMAC-SHA256, and takes a seventh of the time. Whoever asks for an endpoint finds it; nobody can tell from it
which endpoint it is, but by trying those that they know with the salt. Endpoints go by `convert.suppression_key`,
people by `convert.person_key`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b

from services.channels import convert
from services.channels.convert import Body
from services.channels.salts import Salts
from services.channels.store import Store
from services.chassis.clock import Instant
from services.chassis.documents import Document, Page, change

_REASON = "its person was erased"
_HASHED = "erased"
"""Where the channel is in the ids of endpoints in plain. Like `profile`, it comes after all numbers."""


class Suppressions:
    def __init__(self, store: Store) -> None:
        self._collection = store.suppressions
        self._salts = Salts(store.salts)

    def forget(self, workspace_id: str) -> None:
        """Let go of what is kept in memory of a workspace."""
        self._salts.forget(workspace_id)

    async def holding(self, endpoints: Iterable[str], now: Instant, *, people: Collection[str] = ()) -> dict[str, Body]:
        """Which of these endpoints and people are suppressed, and how: one read for all of them."""
        hashed = await self._hashed(endpoints, now)
        found = await self._collection.get([*people, *hashed.keys(), *hashed.values()])
        if not found:
            return {}
        holding = {person: found.get(person) for person in people}
        # Of an endpoint that is there twice, the words aren't shown: they are about somebody who was erased.
        holding |= {key: found.get(hash_) or found.get(key) for key, hash_ in hashed.items()}
        return {key: document.body for key, document in holding.items() if document is not None}

    async def add(self, reasons: Mapping[str, str], now: Instant) -> dict[str, Body]:
        """Suppress endpoints, each for its reason. What holds now: those that were suppressed before keep theirs."""
        held = await self.holding(reasons, now)
        stored = await change(
            self._collection,
            reasons.keys() - held.keys(),
            lambda key, old: convert.suppression_body(reasons[key], now) if old is None else None,
        )
        if stored:
            # Somebody may have been erased since we looked. Either erasing finds what we wrote, or we find its hash.
            hashed = await self._hashed(stored, now)
            erased = await self._collection.get(hashed.values())
            held |= {key: erased[hash_].body for key, hash_ in hashed.items() if hash_ in erased}
            await self._collection.delete(stored.keys() & held.keys())
        return {key: document.body for key, document in stored.items()} | held

    async def lift(self, key: str, now: Instant) -> None:
        """Allow sending to an endpoint again, whyever it was suppressed."""
        hashed = await self._hashed([key], now)
        await self._collection.delete([key, *hashed.values()])

    async def page(self, workspace_id: str, limit: int, after: str) -> Page:
        """A workspace's suppressions in plain, by channel and endpoint."""
        page = await self._collection.scan(limit=limit, after=after, prefix=f"{workspace_id}/")
        plain = [document for document in page.documents if document.id.split("/", 2)[1].isdecimal()]
        # The others come last.
        return Page(plain, page.next if len(plain) == len(page.documents) else "")

    async def mark(self, people: Collection[str]) -> None:
        """Note that these people were erased. From then on nothing is sent to them."""
        await self._collection.put([Document(person, {}) for person in people])

    async def hide(self, keys: Collection[str], now: Instant) -> None:
        """Suppress endpoints by their hashes, for good, because their person is being erased."""
        for workspace_id in {_workspace_of(key) for key in keys}:
            self._salts.forget(workspace_id)
        hashed = await self._hashed(keys, now)
        await self._collection.put(
            [Document(hash_, convert.suppression_body(_REASON, now)) for hash_ in hashed.values()]
        )

    async def drop_plain(self, keys: Iterable[str]) -> int:
        """Delete what is held on endpoints in plain, once they're hidden. How many there were."""
        return await self._collection.delete(keys)

    async def _hashed(self, keys: Iterable[str], now: Instant) -> dict[str, str]:
        """The ids under which these endpoints are suppressed without being named."""
        workspaces = {key: _workspace_of(key) for key in keys}
        salts = await self._salts.of(set(workspaces.values()), now)
        return {
            key: f"{workspace_id}/{_HASHED}/{_hash(key, salts[workspace_id])}"
            for key, workspace_id in workspaces.items()
        }


def _hash(key: str, salt: bytes) -> str:
    return blake2b(key.encode(), key=salt, digest_size=32).hexdigest()


def _workspace_of(key: str) -> str:
    return key.partition("/")[0]
