"""All that a workspace was ever told of people, and the people that follow from it.

A profile goes on as the person that has the first of its identities; of several that turn out to be one person the
oldest does, with all that was told of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.testing.fake.knowledge import Told, knowledge
from camino.testing.fake.people import Link, Pair, pair, people, two_people
from camino.testing.fake.person import Person, grown, newborn
from camino.testing.fake.refusal import Refusal
from camino.testing.fake.rules import Identity, Rules
from camino.testing.fake.sightings import Sightings
from camino.testing.fake.timeline import Timeline
from camino.testing.fake.values import instant

_MOST_REFUSED = 20
"""Links of one identity that don't hold and are shown."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Whose an input was, and which of its identities are somebody else's."""

    profile_id: str
    not_linked: Sequence[Identity]


class Ledger:
    def __init__(self, workspace_id: str, new_id: Callable[[], str]) -> None:
        self.timeline = Timeline()
        self._workspace_id = workspace_id
        self._new_id = new_id
        self._sightings = Sightings()
        self._unlinked: dict[Identity, int] = {}
        self._owners: dict[Identity, str] = {}
        self._people: dict[str, Person] = {}
        self._merged_into: dict[str, str] = {}
        self._erased: dict[str, str] = {}

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def identities(self) -> Collection[Identity]:
        """All that were ever named and not erased, also those that are nobody's now."""
        return self._owners.keys() | self._unlinked.keys()

    @property
    def merges(self) -> int:
        """How many profiles turned out to be somebody else."""
        return len(self._merged_into)

    def profiles(self) -> Iterable[profile_pb2.Profile]:
        """In the order in which they were made."""
        return (person.profile for person in self._people.values())

    def meant(self, profile_id: str) -> str:
        """The id of the profile that an id means: its own, or that of the one into which it was merged."""
        while profile_id in self._merged_into:
            profile_id = self._merged_into[profile_id]
        return profile_id

    def profile(self, profile_id: str) -> profile_pb2.Profile | None:
        person = self._people.get(self.meant(profile_id))
        return person.profile if person else None

    def owner(self, identity: Identity) -> profile_pb2.Profile | None:
        return self.profile(self._owners.get(identity, ""))

    def erased_by(self, profile_id: str) -> str:
        """Which operation erased the profile that an id meant; empty if none did."""
        return self._erased.get(profile_id, "")

    def links(self, profile_id: str) -> tuple[Mapping[Pair, Link], Mapping[Pair, Link]]:
        """The links between a profile's identities, and of those that each of them has with others' the last seen."""
        within = self._people[profile_id].identities
        held, refused = self._sightings.links(within), dict[Pair, Link]()
        for identity in within:
            theirs = [(ends, link) for ends, link in self._sightings.links_of([identity]).items() if ends not in held]
            theirs.sort(key=lambda it: (it[1].last, it[0]), reverse=True)
            refused.update(theirs[:_MOST_REFUSED])
        return held, refused

    def snapshot(self) -> object:
        """All of it: equal to an earlier one if nothing changed."""
        people = {id_: (it.profile.SerializeToString(deterministic=True), it.known) for id_, it in self._people.items()}
        links = self._sightings.snapshot()
        ids = dict(self._merged_into), dict(self._erased)
        return people, ids, dict(self._owners), dict(self._unlinked), links, self.timeline.snapshot()

    def __len__(self) -> int:
        """How many things it holds."""
        ids = len(self._people) + len(self._merged_into) + len(self._erased)
        return ids + len(self.identities) + len(self.timeline)

    # --- what becomes of it -------------------------------------------------------------------------------------------

    def take(self, said: pb.ProfileInput, rules: Rules, now: int) -> Taken:
        """Take in what is said, with normal identities and every instant in it. Raises `Refusal` (PROFILE_LIMIT)."""
        named = list(dict.fromkeys((identity.namespace, identity.value) for identity in said.identities))
        first, at = min(named, key=rules.rank), instant(said.observed_at)
        void = {identity for identity in named if self._unlinked.get(identity, at - 1) >= at}
        # What was unlinked since then doesn't count as linked.
        counted = [first] if first in void else [identity for identity in named if identity not in void]
        self._reckon(counted, Told(first, said), at, rules, now)
        for other in counted:
            if other != first:
                self._sightings.see(first, other, at)
        whose = self._owners[first]
        self.timeline.consents(whose, first, said.consents)
        return Taken(whose, [identity for identity in named if self._owners.get(identity) != whose])

    def unlink(self, profile_id: str, identity: Identity, at: int, rules: Rules, now: int) -> None:
        """Take an identity from a profile. Raises `Refusal` (LAST_IDENTITY)."""
        person = self._people[profile_id]
        seen = {other: when for other, when in self._sightings.when(identity).items() if other in person.identities}
        since = any(instant > at for when in seen.values() for instant in when)
        if identity not in person.identities or since:
            return
        left = person.identities - {identity}
        if not left:
            message = "it's the profile's only identity; erase the profile instead"
            raise Refusal(reason_pb2.REASON_LAST_IDENTITY, message)
        centre = min(left, key=rules.rank)
        self._sightings.forget(identity, at)
        # Those that were linked with it stay together.
        for other, when in seen.items():
            if other != centre:
                self._sightings.see(centre, other, *when)
        self._unlinked[identity] = at
        del self._owners[identity]
        self._people[profile_id] = grown(person, left, person.told, (), self._sightings.links_of(left), rules, now)
        self.timeline.identities(profile_id, pb.IDENTITY_CHANGE_KIND_UNLINKED, [identity], "", now)

    def put(self, profile: profile_pb2.Profile, rules: Rules) -> None:
        """Have a profile as it is, in the place of one with its id and of others' claims to its identities."""
        identities = frozenset((identity.namespace, identity.value) for identity in profile.identities)
        held = self._people.get(profile.profile_id)
        self._release(identities.union(held.identities if held else ()))
        told = pb.ProfileInput(
            attributes=profile.attributes,
            consents=profile.consents,
            time_zone=profile.time_zone,
            locale=profile.locale,
            observed_at=profile.update_time,
        )
        first = min(identities, key=rules.rank, default=("", ""))
        for identity in identities:
            self._owners[identity] = profile.profile_id
            if identity != first:
                self._sightings.see(first, identity, instant(profile.create_time))
        facts = (Told(first, told),)
        known = knowledge(facts, self._sightings.links_of(identities), rules).digest()
        self._people[profile.profile_id] = Person(profile, identities, facts, known)

    def erase(self, profile_id: str, operation_id: str) -> None:
        """Forget a profile and those that were merged into it, but for the ids, and which operation erased them."""
        person = self._people.pop(profile_id)
        self._release(person.identities)
        for id_ in (profile_id, *person.profile.merged_profile_ids):
            self._merged_into.pop(id_, None)
            self._erased[id_] = operation_id
            self.timeline.erase(id_)

    def _release(self, identities: Iterable[Identity]) -> None:
        """Forget identities, and with whom they were seen."""
        for identity in identities:
            self._sightings.forget(identity)
            self._unlinked.pop(identity, None)
            if person := self._people.get(self._owners.pop(identity, "")):
                self._people[person.id] = replace(person, identities=person.identities - {identity})

    def _reckon(self, counted: Sequence[Identity], told: Told, at: int, rules: Rules, now: int) -> None:
        """Tell people apart anew, and have one of them know what is told.

        Those that some identities are of are one person, unless that would be two: then all that they are linked with
        is looked at.
        """
        owned = self._people_of(counted)
        together = frozenset(counted).union(*(person.identities for person in owned))
        clash = two_people(together, rules)
        involved = self._people_of(sorted(self._sightings.neighbourhood(counted))) if clash else owned
        everyone = together.union(*(person.identities for person in involved))
        links, fresh = self._linked(counted, told.of, at, everyone)
        # Where several profiles are concerned, a change of how they're linked is a change of theirs.
        news = fresh if clash or len(owned) > 1 else set[Identity]()
        after: dict[frozenset[Identity], Person] = {}
        merged: dict[str, Person] = {}
        between = {ends: link for ends, link in links.items() if everyone.issuperset(ends)}
        for person in people(everyone, between, rules) if clash else [together]:
            before = sorted(
                (it for it in involved if min(it.identities, key=rules.rank) in person), key=lambda it: it.age
            )
            oldest, *others = before or [newborn(self._workspace_id, self._new_id(), now)]
            facts = [one for it in (oldest, *others) for one in it.told] + [told] * (told.of in person)
            ids = [id_ for it in others for id_ in (*it.profile.merged_profile_ids, it.id)]
            theirs = {ends: link for ends, link in links.items() if not person.isdisjoint(ends)}
            after[person] = grown(oldest, person, facts, ids, theirs, rules, now, changed=not news.isdisjoint(person))
            merged.update((it.id, after[person]) for it in others)
        self._settle(involved, after.values(), {id_: into.id for id_, into in merged.items()}, now)

    def _people_of(self, identities: Iterable[Identity]) -> list[Person]:
        ids = dict.fromkeys(self._owners[identity] for identity in identities if identity in self._owners)
        return [self._people[id_] for id_ in ids]

    def _linked(
        self, counted: Iterable[Identity], first: Identity, at: int, within: frozenset[Identity]
    ) -> tuple[dict[Pair, Link], set[Identity]]:
        """The links of some identities, with those of one that is seen with others now; and the identities of which
        there is something new in that."""
        links, fresh = self._sightings.links_of(within), set[Identity]()
        for other in counted:
            if other != first:
                ends = pair(first, other)
                known = links.get(ends, Link(at, at))
                seen = Link(min(known.first, at), max(known.last, at))
                if links.get(ends) != seen:
                    fresh.update(ends)
                links[ends] = seen
        return links, fresh

    def _settle(self, before: Iterable[Person], after: Collection[Person], merged: Mapping[str, str], now: int) -> None:
        """Let people be as they were found to be, and tell what became of their identities."""
        self._merged_into.update(merged)
        owners = {identity: person.id for person in after for identity in person.identities}
        for person in before:
            stays = self.meant(person.id)
            if person.id in merged:
                self._people.pop(person.id)
                theirs = person.profile.identities
                names = [(identity.namespace, identity.value) for identity in theirs]
                self.timeline.identities(stays, pb.IDENTITY_CHANGE_KIND_MERGED, names, person.id, now)
            moved: dict[str, list[Identity]] = {}
            for identity in sorted(person.identities):
                if owners[identity] != stays:
                    moved.setdefault(owners[identity], []).append(identity)
            for to, identities in moved.items():
                self.timeline.identities(stays, pb.IDENTITY_CHANGE_KIND_MOVED_AWAY, identities, to, now)
                self.timeline.identities(to, pb.IDENTITY_CHANGE_KIND_MOVED_HERE, identities, stays, now)
        self._people.update((person.id, person) for person in after)
        self._owners.update(owners)
