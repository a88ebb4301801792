"""Finding profiles by any of their ids and identities, as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.chassis.documents import Document
from services.chassis.errors import Contention, FailedPrecondition
from services.profile import convert
from services.profile.domain.values import Identity
from services.profile.store import Store

_ROUNDS = 24


@dataclass(frozen=True, slots=True)
class Owner:
    """What is stored of an identity: whose it is, empty for nobody's, and when it was taken from somebody, or 0."""

    profile_id: str
    unlinked_at: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What an id means, and what is stored there: a profile, the mark of one that was erased, a place that's kept for
    one, or nothing."""

    profile_id: str
    document: Document | None

    def lists(self, identity: Identity) -> bool:
        """Whether the profile there knows that it has the identity."""
        return self.document is not None and list(identity) in self.document.body.get("identities", ())


async def standing(store: Store, workspace_id: str, profile_ids: Iterable[str]) -> dict[str, Standing]:
    """For each id what it means: its own place, or that of the profile that turned out to be the same person. One read,
    and another for each step from grave to grave."""
    wanted = set(profile_ids)
    read: dict[str, Document] = {}
    asked = wanted
    while asked:
        found = await store.profiles.get({f"{workspace_id}/{id_}" for id_ in asked})
        read.update((key.partition("/")[2], document) for key, document in found.items())
        asked = {convert.joined_to(document.body) for document in found.values()} - read.keys() - {""}

    def meant(profile_id: str) -> Standing:
        # A profile is merged into an older one: so this ends.
        while (document := read.get(profile_id)) and (target := convert.joined_to(document.body)):
            profile_id = target
        return Standing(profile_id, document)

    return {id_: meant(id_) for id_ in wanted}


async def profiles(store: Store, workspace_id: str, profile_ids: Iterable[str]) -> dict[str, Document]:
    """For each id the profile that it means. Those that don't exist, or were erased, are left out."""
    found = await standing(store, workspace_id, profile_ids)
    return {
        id_: place.document
        for id_, place in found.items()
        if place.document and convert.is_profile(place.document.body)
    }


def check_not_erased(body: convert.Body) -> None:
    """Raise `FailedPrecondition` (PROFILE_ERASING) where a profile is being erased, or was."""
    if "erasing" in body or "erased" in body:
        raise FailedPrecondition(
            "the profile is being erased; sent again when that is done, it makes a new one", reason="PROFILE_ERASING"
        )


async def owners(store: Store, workspace_id: str, identities: Iterable[Identity]) -> dict[Identity, Owner]:
    """What is stored of identities, by identity. An owner may have been merged since, or not be there yet."""
    keys = {convert.identity_key(workspace_id, identity): identity for identity in identities}
    found = await store.identities.get(keys)
    return {
        keys[key]: Owner(document.body.get("profile_id", ""), document.body.get("unlinked_at", 0))
        for key, document in found.items()
    }


async def located(
    store: Store, workspace_id: str, identities: Iterable[Identity]
) -> tuple[dict[Identity, Owner], dict[str, Standing]]:
    """What is stored of identities, and the places of their owners by id, as both were at one time: whoever writes a
    profile as it was read here, with the identities that are its own by this, takes none that has moved on.

    An identity moves only while its profile is locked. So one that the profile lists is its own at that revision; of
    one that isn't listed it has to be read again whose it is, after the profile. Raises `Contention`.
    """
    known = await owners(store, workspace_id, identities)
    for _ in range(_ROUNDS):
        places = await standing(store, workspace_id, {owner.profile_id for owner in known.values() if owner.profile_id})
        unlisted = {i for i, owner in known.items() if owner.profile_id and not places[owner.profile_id].lists(i)}
        again = await owners(store, workspace_id, unlisted) if unlisted else {}
        if all(again.get(identity) == known[identity] for identity in unlisted):
            return known, places
        known = {**{i: owner for i, owner in known.items() if i not in unlisted}, **again}
    raise Contention("identities kept changing hands; send it again")


async def by_identity(store: Store, workspace_id: str, identities: Iterable[Identity]) -> Mapping[Identity, Document]:
    """For each identity the profile that has it. Left out are those that nobody has; and those that were given to a
    profile by somebody who died before it was told: they may turn out to be another's."""
    known, places = await located(store, workspace_id, identities)
    found: dict[Identity, Document] = {}
    for identity, owner in known.items():
        place = places.get(owner.profile_id)
        if place is None or place.document is None or not convert.is_profile(place.document.body):
            continue
        # Of one that is being changed it isn't said yet what it will have.
        if place.lists(identity) or convert.lock_of(place.document.body):
            found[identity] = place.document
    return found


async def claim(store: Store, workspace_id: str, claims: Mapping[Identity, str]) -> bool:
    """Give identities that are nobody's their owners. Whether all were nobody's still."""
    keys = {convert.identity_key(workspace_id, identity): owner for identity, owner in claims.items()}
    outcome = await store.identities.put([Document(key, {"profile_id": owner}) for key, owner in keys.items()])
    if not outcome.duplicate:
        return True
    taken = await store.identities.get(outcome.duplicate)
    # Those that were unlinked are there, without an owner.
    free = [
        Document(key, {**document.body, "profile_id": keys[key]}, document.rev)
        for key, document in taken.items()
        if not document.body.get("profile_id")
    ]
    outcome = await store.identities.put(free)
    return len(free) == len(taken) and not outcome.conflicted
