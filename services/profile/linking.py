"""Taking in what concerns several profiles at once: links that make one person of them, or that can't all hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from camino.profile.v1 import profile_service_pb2

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import Contention
from services.chassis.ids import new_id
from services.profile import convert, finding, records
from services.profile.absorbing import Taken, linked
from services.profile.convert import Body
from services.profile.domain import links
from services.profile.domain.profile import Facts, Profile
from services.profile.domain.reconciling import Reconciled, clash, reconcile
from services.profile.domain.rules import Rules
from services.profile.domain.values import MAX_IDENTITIES, Identity
from services.profile.finding import Owner, Standing
from services.profile.joining import Change, Joining, give_way
from services.profile.store import Store
from services.profile.storing import stored

_ROUNDS = 60
_MOST_PROFILES = 100
"""Profiles that are looked at, besides those of an input, to tell which links hold: those that are linked with one
another, though not one person, nearest first, and of equally near ones those that were last seen together. To know more
of them would take longer than a lock may stand."""

MERGED = profile_service_pb2.IDENTITY_CHANGE_KIND_MERGED
MOVED_HERE = profile_service_pb2.IDENTITY_CHANGE_KIND_MOVED_HERE
MOVED_AWAY = profile_service_pb2.IDENTITY_CHANGE_KIND_MOVED_AWAY


class Linking:
    def __init__(
        self, store: Store, joining: Joining, clock: Clock, rules: Callable[[str], Rules], partitions: int
    ) -> None:
        self._store = store
        self._joining = joining
        self._clock = clock
        self._rules = rules
        self._partitions = partitions

    async def take(self, workspace_id: str, facts: Facts, cause: object) -> Taken:
        """Take facts in, whatever that makes of the profiles that have their identities. When it returns, all is
        durable. Raises `FailedPrecondition` (PROFILE_LIMIT, PROFILE_ERASING) and `Contention`."""
        for attempt in range(_ROUNDS):
            if taken := await self._try(workspace_id, facts, cause):
                return taken
            await give_way(attempt)
        raise Contention("others kept changing the same profiles; send it again")

    async def _try(self, workspace_id: str, facts: Facts, cause: object) -> Taken | None:
        """Take facts in, unless others are at the same profiles."""
        rules = self._rules(workspace_id)
        owners = await finding.owners(self._store, workspace_id, facts.identities)
        counted = linked(facts, owners, rules)
        places, newcomer = await self._places(workspace_id, counted.identities, owners)
        involved = await self._involved(workspace_id, counted, places, rules)
        # What can't be taken leaves nothing behind.
        self._reconciled(involved, places, counted, rules)
        if newcomer and not await finding.claim(self._store, workspace_id, newcomer):
            return None
        result: list[Reconciled] = []

        async def decide(locked: Mapping[str, Document]) -> Change | None:
            everybody = {
                (namespace, value)
                for document in locked.values()
                for namespace, value in document.body.get("identities", ())
            }
            # What was read before the locks may have changed hands since.
            again = await finding.owners(self._store, workspace_id, everybody.union(facts.identities))
            known, nobodys = await self._places(workspace_id, counted.identities, again)
            if nobodys or linked(facts, again, rules) != counted:
                return None
            neighbours = locked.keys() - {place.profile_id for place in known.values()}
            if any("erasing" in locked[id_].body for id_ in neighbours):
                return None
            if not await self._covers(workspace_id, locked, known, counted, rules):
                return None
            reconciled = self._reconciled(locked, known, counted, rules)
            result.append(reconciled)
            change = self._change(workspace_id, locked, reconciled, again, rules, cause)
            kept = [id_ for id_ in reconciled.merged if not convert.is_profile(locked[id_].body)]
            freed = await self._freed(set(kept) - set(newcomer.values()))
            return replace(change, identities={**freed, **change.identities})

        if not await self._joining.carry(workspace_id, involved, decide):
            return None
        owners_now = result[0].owners
        whose = owners_now[links.head(counted.identities, rules)]
        return Taken(whose, tuple(identity for identity in facts.identities if owners_now.get(identity) != whose))

    async def _places(
        self, workspace_id: str, identities: Iterable[Identity], owners: Mapping[Identity, Owner]
    ) -> tuple[dict[Identity, Standing], dict[Identity, str]]:
        """Where the profiles of identities are; and which of them are nobody's yet, and are to be somebody new's, who
        may turn out to be the same person as one of the others."""
        found = await finding.standing(
            self._store, workspace_id, {owner.profile_id for owner in owners.values() if owner.profile_id}
        )
        places = {
            identity: found[owners[identity].profile_id]
            for identity in identities
            if identity in owners and owners[identity].profile_id
        }
        # Not one of the others', even for a moment: they may be told apart.
        newcomer = Standing(new_id(), None)
        nobodys = [identity for identity in identities if identity not in places]
        return {**places, **dict.fromkeys(nobodys, newcomer)}, dict.fromkeys(nobodys, newcomer.profile_id)

    async def _involved(
        self, workspace_id: str, facts: Facts, places: Mapping[Identity, Standing], rules: Rules
    ) -> dict[str, Document | None]:
        """The profiles that must be known, by id: those of the identities, and if their links can't all hold, those
        that they're linked with as well."""
        known = {place.profile_id: place.document for place in places.values()}
        profiles = [_profile(id_, document, places) for id_, document in known.items()]
        if clash(profiles, facts, rules):
            known.update(await self._linked_with(workspace_id, profiles))
        return known

    async def _linked_with(self, workspace_id: str, profiles: Iterable[Profile]) -> dict[str, Document | None]:
        found: dict[str, Document | None] = {}
        near = list(profiles)
        seen = {identity for profile in near for identity in profile.identities}
        while near and len(found) < _MOST_PROFILES:
            beyond = _elsewhere(near, seen)
            seen.update(beyond)
            owners = await finding.owners(self._store, workspace_id, beyond)
            places = await finding.standing(
                self._store, workspace_id, {owner.profile_id for owner in owners.values() if owner.profile_id}
            )
            near = []
            for place in (places[owners[i].profile_id] for i in beyond if i in owners and owners[i].profile_id):
                if len(found) == _MOST_PROFILES:
                    break
                body = place.document.body if place.document else {}
                # One who is being erased is about to be linked with nobody.
                if place.profile_id not in found and convert.is_profile(body) and "erasing" not in body:
                    found[place.profile_id] = place.document
                    near.append(convert.profile_of(place.profile_id, body))
        return found

    async def _covers(
        self,
        workspace_id: str,
        locked: Mapping[str, Document],
        places: Mapping[Identity, Standing],
        facts: Facts,
        rules: Rules,
    ) -> bool:
        """Whether the locked profiles are all that must be known."""
        fresh = {
            identity: Standing(place.profile_id, locked.get(place.profile_id)) for identity, place in places.items()
        }
        involved = await self._involved(workspace_id, facts, fresh, rules)
        return involved.keys() <= locked.keys()

    def _reconciled(
        self,
        involved: Mapping[str, Document | None],
        places: Mapping[Identity, Standing],
        facts: Facts,
        rules: Rules,
    ) -> Reconciled:
        """Raises `FailedPrecondition` (PROFILE_LIMIT, PROFILE_ERASING)."""
        for document in involved.values():
            finding.check_not_erased(document.body if document else {})
        profiles = [_profile(id_, document, places) for id_, document in involved.items()]
        return reconcile(
            [profile for profile in profiles if profile.identities], facts, rules, self._clock.now(), new_id
        )

    async def _freed(self, places: Iterable[str]) -> dict[str, Body]:
        """The identities that were given to places which were kept for somebody, and are nobody's now: of those that
        come with no input nobody was told, and they're to be claimed anew."""
        freed: dict[str, Body] = {}
        for id_ in places:
            page = await self._store.identities.query("by_profile", id_, limit=MAX_IDENTITIES)
            for document in page.documents:
                freed[document.id] = {name: it for name, it in document.body.items() if name != "profile_id"}
        return freed

    def _change(
        self,
        workspace_id: str,
        locked: Mapping[str, Document],
        reconciled: Reconciled,
        owners: Mapping[Identity, Owner],
        rules: Rules,
        cause: object,
    ) -> Change:
        now = self._clock.now()
        bodies = {
            id_: stored(workspace_id, profile, rules, self._partitions, now, cause)
            for id_, profile in reconciled.profiles.items()
        }
        bodies.update((id_, convert.grave(into)) for id_, into in reconciled.merged.items())
        identities = {}
        for identity, owner in reconciled.owners.items():
            before = owners.get(identity)
            if before and before.profile_id == owner:
                continue
            unlinked_at = before.unlinked_at if before else 0
            identities[convert.identity_key(workspace_id, identity)] = {
                "profile_id": owner,
                **({"unlinked_at": unlinked_at} if unlinked_at else {}),
            }
        told = []
        for id_, into in reconciled.merged.items():
            if not convert.is_profile(locked[id_].body):
                continue
            theirs = [(namespace, value) for namespace, value in locked[id_].body.get("identities", ())]
            told.append(records.of_identities(workspace_id, into, MERGED, theirs, id_, now))
        for moved in reconciled.moved:
            told.append(records.of_identities(workspace_id, moved.from_, MOVED_AWAY, moved.identities, moved.to, now))
            told.append(records.of_identities(workspace_id, moved.to, MOVED_HERE, moved.identities, moved.from_, now))
        return Change(bodies, identities, told)


def _elsewhere(profiles: Iterable[Profile], seen: Collection[Identity]) -> list[Identity]:
    """The identities that profiles have links with besides those that were seen, the last observed first."""
    last: dict[Identity, int] = {}
    for profile in profiles:
        for ends, link in profile.links.items():
            for identity in ends:
                if identity not in seen:
                    last[identity] = max(link.last, last.get(identity, link.last))
    return sorted(last, key=lambda identity: (-last[identity], identity))


def _profile(profile_id: str, document: Document | None, places: Mapping[Identity, Standing]) -> Profile:
    """The profile that is there; or what there is of one that has been given identities, and nothing else yet."""
    if document is not None and convert.is_profile(document.body):
        return convert.profile_of(profile_id, document.body)
    theirs = frozenset(identity for identity, place in places.items() if place.profile_id == profile_id)
    return Profile(profile_id, 2**62, 0, identities=theirs)
