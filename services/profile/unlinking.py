"""Taking an identity from a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from camino.profile.v1 import profile_service_pb2

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import Contention, FailedPrecondition
from services.profile import convert, finding, records
from services.profile.domain import links
from services.profile.domain.profile import Profile
from services.profile.domain.rules import Rules
from services.profile.domain.values import Identity
from services.profile.joining import Change, Joining, give_way, unlocked
from services.profile.store import Store
from services.profile.storing import stored

_ROUNDS = 60
_UNLINKED = profile_service_pb2.IDENTITY_CHANGE_KIND_UNLINKED


class Unlinking:
    def __init__(
        self, store: Store, joining: Joining, clock: Clock, rules: Callable[[str], Rules], partitions: int
    ) -> None:
        self._store = store
        self._joining = joining
        self._clock = clock
        self._rules = rules
        self._partitions = partitions

    async def take_away(self, workspace_id: str, profile_id: str, identity: Identity, at: int, cause: object) -> None:
        """Take an identity from a profile, unless it hasn't it, or has been linked with it since. Raises
        `FailedPrecondition` (LAST_IDENTITY, PROFILE_ERASING) and `Contention`."""
        for attempt in range(_ROUNDS):
            place = (await finding.standing(self._store, workspace_id, [profile_id]))[profile_id]
            if place.document is None or list(identity) not in place.document.body.get("identities", ()):
                return
            if await self._try(workspace_id, place.profile_id, identity, at, cause):
                return
            await give_way(attempt)
        raise Contention("others kept changing the same profile; send it again")

    async def _try(self, workspace_id: str, profile_id: str, identity: Identity, at: int, cause: object) -> bool:
        rules = self._rules(workspace_id)
        neighbours = await self._neighbours(workspace_id, profile_id, identity)

        async def decide(locked: Mapping[str, Document]) -> Change | None:
            body = locked[profile_id].body
            if list(identity) not in body.get("identities", ()):
                return None
            finding.check_not_erased(body)
            now = self._clock.now()
            profile = convert.profile_of(profile_id, body)
            if any(
                identity in ends and profile.identities.issuperset(ends) and seen.last > at
                for ends, seen in profile.links.items()
            ):
                return Change({}, {})
            after = _without(profile, identity, rules, now)
            bodies = {profile_id: stored(workspace_id, after, rules, self._partitions, now, cause)}
            for id_, document in locked.items():
                if id_ != profile_id and convert.is_profile(document.body):
                    bodies[id_] = _forgetting(unlocked(document.body), identity, at, rules)
            return Change(
                bodies,
                {convert.identity_key(workspace_id, identity): {"unlinked_at": at}},
                [records.of_identities(workspace_id, profile_id, _UNLINKED, [identity], "", now)],
            )

        return await self._joining.carry(workspace_id, {profile_id, *neighbours}, decide)

    async def _neighbours(self, workspace_id: str, profile_id: str, identity: Identity) -> set[str]:
        """The other profiles that know of links with the identity, which did not hold."""
        found = await finding.profiles(self._store, workspace_id, [profile_id])
        if profile_id not in found:
            return set()
        profile = convert.profile_of(profile_id, found[profile_id].body)
        linked = {end for ends in profile.links if identity in ends for end in ends} - profile.identities
        others = await finding.by_identity(self._store, workspace_id, linked)
        return {other.id.partition("/")[2] for other in others.values()}


def _forgetting(body: convert.Body, identity: Identity, at: int, rules: Rules) -> convert.Body:
    """A profile's body without the links with somebody's identity that were observed by an instant."""
    profile = convert.profile_of("", body)
    kept = {ends: seen for ends, seen in profile.links.items() if identity not in ends or seen.last > at}
    return {**body, "links": convert.profile_body(replace(profile, links=kept), rules)["links"]}


def _without(profile: Profile, identity: Identity, rules: Rules, now: int) -> Profile:
    """The profile without an identity. Those that were linked with it stay together: the profile's first is linked with
    them in its place. Raises `FailedPrecondition` (LAST_IDENTITY)."""
    left = profile.identities - {identity}
    if not left:
        raise FailedPrecondition("it's the profile's only identity; erase the profile instead", reason="LAST_IDENTITY")
    centre = links.head(left, rules)
    kept: dict[links.Pair, links.Seen] = {}
    for ends, seen in profile.links.items():
        if identity in ends:
            other = ends[0] if ends[1] == identity else ends[1]
            if other not in left or other == centre:
                continue
            ends = links.pair(centre, other)
        kept = links.united(kept, {ends: seen})
    return replace(profile, identities=left, links=kept, revision=profile.revision + 1, updated_at=now)
