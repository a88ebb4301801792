"""A person as values, and what facts make of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from services.chassis.errors import FailedPrecondition, Violation
from services.profile.domain import attributes, consents, links
from services.profile.domain.attributes import Attributes
from services.profile.domain.consents import Consent, Consents, Topic
from services.profile.domain.links import Links
from services.profile.domain.rules import Rules
from services.profile.domain.values import (
    MAX_ATTRIBUTES,
    MAX_CONSENTS,
    MAX_IDENTITIES,
    MAX_UNSET,
    Identity,
)

TIME_ZONE, LOCALE = "time_zone", "locale"


@dataclass(frozen=True, slots=True)
class Facts:
    """What one input says about a person: whoever has the `head` of its identities. Empty means nothing is said."""

    identities: tuple[Identity, ...]
    observed_at: int
    attributes: Attributes = field(default_factory=dict)
    consents: Mapping[Topic, tuple[Consent, ...]] = field(default_factory=dict)
    settings: Attributes = field(default_factory=dict)
    """`TIME_ZONE` and `LOCALE`, which are told as attributes are."""

    def only(self, identities: tuple[Identity, ...]) -> Facts:
        """The same, of these identities."""
        return replace(self, identities=identities)


@dataclass(frozen=True, slots=True)
class Profile:
    """One person. `revision` grows with every change that shows."""

    profile_id: str
    created_at: int
    updated_at: int
    revision: int = 0
    identities: frozenset[Identity] = frozenset()
    links: Links = field(default_factory=dict)
    """Those between its identities, and those of them that lead elsewhere and did not hold."""
    attributes: Attributes = field(default_factory=dict)
    consents: Consents = field(default_factory=dict)
    settings: Attributes = field(default_factory=dict)
    merged: tuple[str, ...] = ()
    """The ids of profiles that turned out to be the same person."""


def absorb(profile: Profile, facts: Facts, rules: Rules, now: int, *, with_identities: bool = True) -> Profile:
    """The profile with the facts, and with their identities unless those are dealt with elsewhere. The same facts again
    change nothing: they give the same profile, as an object. Any order of facts ends in the same profile.

    Raises `FailedPrecondition` (PROFILE_LIMIT) when it would hold too much; then nothing of the facts is taken.
    """
    identities, seen, agreed = profile.identities, profile.links, profile.consents
    if with_identities:
        identities = identities | frozenset(facts.identities)
        seen = links.united(seen, links.star(facts.identities, facts.observed_at, rules))
    if facts.consents or seen != profile.links:
        agreed = consents.settled(agreed, facts.consents, seen)
    told = attributes.newer(facts.attributes, profile.attributes, rules)
    settings = attributes.newer(facts.settings, profile.settings, rules)
    shows = bool(told or settings) or identities != profile.identities or agreed != profile.consents
    if not shows and seen == profile.links and profile.revision:
        return profile
    changed = replace(
        profile,
        identities=identities,
        links=seen,
        attributes={**profile.attributes, **told},
        consents=agreed,
        settings={**profile.settings, **settings},
    )
    if shows or not profile.revision:
        changed = replace(changed, revision=profile.revision + 1, updated_at=now)
    return checked(changed)


def unite(older: Profile, younger: Profile, rules: Rules) -> Profile:
    """One person of two profiles: the older with what the younger knew. Identities, links and revision are as the older
    has them: see `reconciling`."""
    told = attributes.newer(younger.attributes, older.attributes, rules)
    settings = attributes.newer(younger.settings, older.settings, rules)
    # Of a place that was only kept for somebody nobody has heard.
    known = [younger.profile_id] if younger.revision else []
    return replace(
        older,
        attributes={**older.attributes, **told},
        consents=consents.settled(older.consents, younger.consents, older.links),
        settings={**older.settings, **settings},
        merged=tuple(dict.fromkeys((*older.merged, *younger.merged, *known))),
    )


def checked(profile: Profile) -> Profile:
    """The profile, unless it holds too much. Raises `FailedPrecondition` (PROFILE_LIMIT)."""
    set_ = unset = 0
    if len(profile.attributes) > min(MAX_ATTRIBUTES, MAX_UNSET):
        unset = sum(held.value is None for held in profile.attributes.values())
        set_ = len(profile.attributes) - unset
    for field_, what, count, limit in (
        ("identities", "identities", len(profile.identities), MAX_IDENTITIES),
        ("attributes", "attributes", set_, MAX_ATTRIBUTES),
        ("attributes", "attributes that were unset", unset, MAX_UNSET),
        ("consents", "consents", len(profile.consents), MAX_CONSENTS),
    ):
        if count > limit:
            message = f"{what}: the profile would have {count}, at most {limit} are kept; nothing was taken"
            raise FailedPrecondition(
                message,
                reason="PROFILE_LIMIT",
                violations=(Violation(field_, message),),
            )
    return profile


def ordered(identities: frozenset[Identity], rules: Rules) -> list[Identity]:
    """Identities as they're shown."""
    return sorted(identities, key=lambda identity: links.rank(identity, rules))
