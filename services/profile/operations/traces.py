"""What other profiles' documents say of a person: links that did not hold, and identities that came and went."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from services.chassis.documents import Document, change
from services.profile import convert, finding, records
from services.profile.domain.values import Identity
from services.profile.joining import Joining
from services.profile.operations.obstacle import Obstacle
from services.profile.store import Store

NOBODY = ["", ""]
"""In place of an identity that a consent was told of. It's nobody's, so what is said later holds in place of that
consent, as it would have anyway."""

_PAGE = 500


class Traces:
    def __init__(self, store: Store, joining: Joining) -> None:
        self._store = store
        self._joining = joining

    async def erase(self, workspace_id: str, profile_ids: Collection[str]) -> None:
        """Erase them, with the identities that were taken from the person and are nobody's. Needs the profile and its
        records as they were; may be called again. Raises `Obstacle`."""
        places = await finding.standing(self._store, workspace_id, profile_ids)
        bodies = [place.document.body for place in places.values() if place.document]
        theirs = {(ns, value) for body in bodies for ns, value in body.get("identities", ())}
        told = await self._told(workspace_id, profile_ids)
        unlinked = {(ns, value) for body in told for ns, value in body["identities"] if not body["other"]}
        await self._forget_unlinked(workspace_id, unlinked)
        linked = {end for body in bodies for end in _elsewhere(body)}
        owners = await finding.owners(self._store, workspace_id, linked)
        others = {owner.profile_id for owner in owners.values() if owner.profile_id}
        others |= {body["other"] for body in told if body["other"]}
        neighbours = await finding.standing(self._store, workspace_id, others - set(profile_ids))
        for place in neighbours.values():
            if place.document and convert.is_profile(place.document.body) and place.profile_id not in profile_ids:
                await self._forget(place.document, theirs | unlinked, profile_ids)

    async def _told(self, workspace_id: str, profile_ids: Iterable[str]) -> list[convert.Body]:
        """What became of the person's identities."""
        found: list[convert.Body] = []
        for profile_id in profile_ids:
            async for record in self._records(f"{workspace_id}/{profile_id}"):
                if record.body["kind"] == records.IDENTITY:
                    found.append(record.body)
        return found

    async def _records(self, key: str) -> Any:
        after = ""
        while True:
            page = await self._store.records.query("by_profile", key, limit=_PAGE, after=after)
            for record in page.documents:
                yield record
            after = page.next
            if not after:
                return

    async def _forget_unlinked(self, workspace_id: str, identities: Iterable[Identity]) -> None:
        keys = [convert.identity_key(workspace_id, identity) for identity in identities]
        found = await self._store.identities.get(keys)
        nobodys = [key for key, document in found.items() if not document.body.get("profile_id")]
        if nobodys:
            await self._store.identities.delete(nobodys)

    async def _forget(self, neighbour: Document, theirs: Collection[Identity], profile_ids: Collection[str]) -> None:
        """Take the person's identities out of another profile, and out of what is told of it."""
        locked: list[Document] = []

        def decide(_key: str, found: Document | None) -> convert.Body | None:
            locked.clear()
            if found is None or not convert.is_profile(found.body):
                return None
            if convert.lock_of(found.body):
                locked.append(found)
                return None
            body = _without(found.body, theirs)
            return body if body != found.body else None

        await change(self._store.profiles, [neighbour.id], decide)
        if locked:
            await self._joining.settle(locked)
            raise Obstacle("a profile that was linked with this one is being joined to another")
        workspace_id = neighbour.id.partition("/")[0]
        for key in (neighbour.id, *(f"{workspace_id}/{id_}" for id_ in neighbour.body["merged"])):
            await self._forget_told(key, theirs, profile_ids)

    async def _forget_told(self, key: str, theirs: Collection[Identity], profile_ids: Collection[str]) -> None:
        gone: list[str] = []
        renamed: list[Document] = []
        async for record in self._records(key):
            if record.body["kind"] == records.IDENTITY and record.body["other"] in profile_ids:
                gone.append(record.id)
            elif record.body["kind"] == records.CONSENT and tuple(record.body["told_of"]) in theirs:
                renamed.append(Document(record.id, {**record.body, "told_of": NOBODY}, record.rev))
        if gone:
            await self._store.records.delete(gone)
        if renamed:
            await self._store.records.put(renamed)


def _elsewhere(body: convert.Body) -> Iterable[Identity]:
    """The ends of a profile's links that aren't its own identities."""
    return [(name[0], name[1]) for link in body.get("links", ()) for name in link[:2] if not isinstance(name, int)]


def _without(body: convert.Body, theirs: Collection[Identity]) -> convert.Body:
    """A profile's body without somebody else's identities."""

    def names(name: int | list[str]) -> bool:
        return not isinstance(name, int) and tuple(name) in theirs

    return {
        **body,
        "links": [link for link in body["links"] if not any(names(name) for name in link[:2])],
        "consents": [
            [*topic, [[*said, NOBODY if names(told_of) else told_of] for *said, told_of in standing]]
            for *topic, standing in body["consents"]
        ],
    }
