"""What a batch of inputs makes of the profiles that they concern, one each. In memory: from what was read to what is to
be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis.documents import Document
from services.chassis.errors import CaminoError
from services.chassis.ids import new_id
from services.profile import convert, finding
from services.profile.domain import links
from services.profile.domain.profile import Facts, Profile, absorb
from services.profile.domain.rules import Rules
from services.profile.domain.values import Identity
from services.profile.finding import Owner, Standing


@dataclass(frozen=True, slots=True)
class Taken:
    """What an input came to: whose it was, and which of its identities are somebody else's."""

    profile_id: str
    not_linked: tuple[Identity, ...] = ()


@dataclass(slots=True)
class Held:
    """A profile in a batch: as it was read, as it was then, and as it is with what was taken so far."""

    document: Document | None
    before: Profile
    profile: Profile

    @property
    def changed(self) -> bool:
        return self.profile is not self.before

    @property
    def shows(self) -> bool:
        """Whether anybody is to be told."""
        return self.profile.revision != self.before.revision


class Absorbing:
    """Takes inputs one by one. Each ends as taken (if what it makes can be written), refused, or left for another way:
    that of inputs which concern several profiles, or that of waiting for a profile which is locked."""

    def __init__(
        self, rules: Rules, now: int, owners: Mapping[Identity, Owner], places: Mapping[str, Standing]
    ) -> None:
        """`owners` of the identities, and the `places` of those by their ids."""
        self._rules = rules
        self._now = now
        self._owners = owners
        self._places = places
        self._documents = {place.profile_id: place.document for place in places.values()}
        self.held: dict[str, Held] = {}
        self.claims: dict[Identity, str] = {}
        """Identities that were nobody's, and whose they are now."""
        self.taken: dict[int, Taken] = {}
        self.refused: dict[int, CaminoError] = {}
        self.several: dict[int, set[str]] = {}
        """Inputs that concern several profiles, or two people in one, and which these are."""
        self.locked: dict[str, Document] = {}

    def take(self, index: int, said: Facts) -> None:
        facts = linked(said, self._owners, self._rules)
        whose = {identity: self._owner(identity) for identity in facts.identities}
        ids = {owner for owner in whose.values() if owner}
        if len(ids) > 1:
            self.several[index] = ids
            return
        profile_id = next(iter(ids), "") or new_id()
        document = self._documents.get(profile_id)
        if document is not None and convert.lock_of(document.body):
            self.locked[profile_id] = document
            return
        held = self.held.get(profile_id) or self._load(profile_id, document)
        if links.clashes(held.profile.identities.union(facts.identities), self._rules):
            self.several[index] = {profile_id}
            return
        try:
            if document is not None:
                finding.check_not_erased(document.body)
            held.profile = absorb(held.profile, facts, self._rules, self._now)
        except CaminoError as error:
            self.refused[index] = error
            return
        self.held[profile_id] = held
        self.claims.update((identity, profile_id) for identity, owner in whose.items() if not owner)
        others = tuple(
            identity
            for identity in said.identities
            if identity not in facts.identities and self._owner(identity) != profile_id
        )
        self.taken[index] = Taken(profile_id, others)

    def _owner(self, identity: Identity) -> str:
        owner = self._owners.get(identity)
        if owner and owner.profile_id:
            return self._places[owner.profile_id].profile_id
        return self.claims.get(identity, "")

    def _load(self, profile_id: str, document: Document | None) -> Held:
        if document is not None and convert.is_profile(document.body):
            profile = convert.profile_of(profile_id, document.body)
        else:
            profile = Profile(profile_id, self._now, self._now)
        return Held(document, profile, profile)


def linked(facts: Facts, owners: Mapping[Identity, Owner], rules: Rules) -> Facts:
    """The facts with those of their identities that count as linked: one that was unlinked since then doesn't."""
    void = {i for i in facts.identities if i in owners and owners[i].unlinked_at >= facts.observed_at}
    if not void or len(facts.identities) == 1:
        return facts
    centre = links.head(facts.identities, rules)
    return facts.only((centre,) if centre in void else tuple(i for i in facts.identities if i not in void))
