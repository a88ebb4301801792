"""What another input makes of the profiles that its identities belong to: one person, or people told apart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.profile.domain import links
from services.profile.domain.consents import settled
from services.profile.domain.links import Pair, Seen
from services.profile.domain.profile import Facts, Profile, absorb, checked, unite
from services.profile.domain.rules import Rules
from services.profile.domain.values import Identity


@dataclass(frozen=True, slots=True)
class Moved:
    """Identities that changed hands."""

    identities: tuple[Identity, ...]
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What becomes of some profiles."""

    profiles: Mapping[str, Profile]
    """Those that go on, and those that come to be, by id."""
    merged: Mapping[str, str]
    """The ids of those that don't, and into which they were merged."""
    owners: Mapping[Identity, str]
    """Whose each identity is."""
    moved: Sequence[Moved] = field(default=())

    def not_linked(self, identities: Sequence[Identity], rules: Rules) -> tuple[Identity, ...]:
        """Those of an input's identities that aren't the same person's as its head."""
        whose = self.owners[links.head(identities, rules)]
        return tuple(identity for identity in identities if self.owners[identity] != whose)


def clash(profiles: Sequence[Profile], facts: Facts, rules: Rules) -> bool:
    """Whether the input's links can't all hold without another that gives way: then what else touches these profiles
    must be known, to tell which."""
    identities = frozenset(facts.identities).union(*(profile.identities for profile in profiles))
    return links.clashes(identities, rules)


def reconcile(
    profiles: Sequence[Profile],
    facts: Facts,
    rules: Rules,
    now: int,
    new_id: Callable[[], str],
) -> Reconciled:
    """The profiles with an input taken in.

    A profile's id, and what was told of it, stay with the first of its identities; of several that turn out to be one
    person, the oldest goes on. Raises `FailedPrecondition` (PROFILE_LIMIT).
    """
    centre = links.head(facts.identities, rules)
    known = links.united(
        *(profile.links for profile in profiles), links.star(facts.identities, facts.observed_at, rules)
    )
    everyone = frozenset(facts.identities).union(*(profile.identities for profile in profiles))
    found = [everyone] if not links.clashes(everyone, rules) else _people(everyone, known, rules)
    person_of = {identity: person for person in found for identity in person}
    going_on: dict[frozenset[Identity], list[Profile]] = {person: [] for person in found}
    for profile in sorted(profiles, key=lambda profile: (profile.created_at, profile.profile_id)):
        going_on[person_of[links.head(profile.identities, rules)]].append(profile)

    after: dict[str, Profile] = {}
    merged: dict[str, str] = {}
    for person, before in sorted(going_on.items(), key=lambda item: min(item[0])):
        oldest = before[0] if before else Profile(new_id(), now, now)
        profile = _standing(oldest, person, links.remembered(known, person))
        for younger in before[1:]:
            profile = unite(profile, younger, rules)
            merged[younger.profile_id] = oldest.profile_id
        if centre in person:
            profile = absorb(profile, facts, rules, now, with_identities=False)
        if profile is not oldest:
            after[oldest.profile_id] = checked(
                replace(profile, created_at=min(oldest.created_at, now), updated_at=now, revision=oldest.revision + 1)
            )
    owners = {
        identity: before[0].profile_id if before else _owner(person, after)
        for person, before in going_on.items()
        for identity in person
    }
    return Reconciled(after, merged, owners, tuple(_moves(profiles, merged, owners)))


def _people(everyone: frozenset[Identity], known: Mapping[Pair, Seen], rules: Rules) -> list[frozenset[Identity]]:
    # A link to somebody whom we don't look at did not hold, and does not now.
    within = {ends: seen for ends, seen in known.items() if everyone.issuperset(ends)}
    return links.people(everyone, within, rules)


def _owner(person: frozenset[Identity], after: Mapping[str, Profile]) -> str:
    return next(profile.profile_id for profile in after.values() if profile.identities == person)


def _standing(profile: Profile, person: frozenset[Identity], known: dict[Pair, Seen]) -> Profile:
    """The profile with these identities and links; as an object the same if it has them."""
    if (profile.identities, profile.links) == (person, known):
        return profile
    return replace(profile, identities=person, links=known, consents=settled(profile.consents, {}, known))


def _moves(profiles: Sequence[Profile], merged: Mapping[str, str], owners: Mapping[Identity, str]) -> list[Moved]:
    moved: dict[tuple[str, str], list[Identity]] = {}
    for profile in profiles:
        stays = merged.get(profile.profile_id, profile.profile_id)
        for identity in sorted(profile.identities):
            if owners[identity] != stays:
                moved.setdefault((stays, owners[identity]), []).append(identity)
    return [Moved(tuple(identities), from_, to) for (from_, to), identities in moved.items()]
