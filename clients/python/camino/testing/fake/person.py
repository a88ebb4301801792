"""A profile as it's shown, and what it's made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.testing.fake.knowledge import Knowledge, Told, holding, knowledge
from camino.testing.fake.people import Links
from camino.testing.fake.refusal import Refusal, Violation
from camino.testing.fake.rules import Identity, Rules
from camino.testing.fake.timeline import wire
from camino.testing.fake.values import instant, timestamp

_MAX_IDENTITIES = 50
_MAX_ATTRIBUTES = 500
_MAX_UNSET = 500
_MAX_CONSENTS = 200


@dataclass(frozen=True, slots=True)
class Person:
    profile: profile_pb2.Profile
    identities: frozenset[Identity] = frozenset()
    told: Sequence[Told] = ()
    known: object = None
    """The digest of what is known of them."""

    @property
    def id(self) -> str:
        return self.profile.profile_id

    @property
    def age(self) -> tuple[int, str]:
        """The lesser is the older."""
        return instant(self.profile.create_time), self.id


def newborn(workspace_id: str, profile_id: str, now: int) -> Person:
    """Of whom nothing is known yet, not even a name."""
    profile = profile_pb2.Profile(workspace_id=workspace_id, profile_id=profile_id, create_time=timestamp(now))
    return Person(profile)


def grown(
    before: Person,
    identities: frozenset[Identity],
    told: Sequence[Told],
    merged: Iterable[str],
    links: Links,
    rules: Rules,
    now: int,
    *,
    changed: bool = False,
) -> Person:
    """The person with these identities and the links that they have, after all that was told of them. Their revision
    grows if they `changed`, or if anything of that is new. Raises `Refusal` (PROFILE_LIMIT)."""
    found = knowledge(told, links, rules)
    known = found.digest()
    merged_ids = list(dict.fromkeys((*before.profile.merged_profile_ids, *merged)))
    same = (before.identities, before.known, list(before.profile.merged_profile_ids)) == (identities, known, merged_ids)
    if same and not changed:
        return Person(before.profile, identities, told, known)
    _check(identities, found)
    profile = profile_pb2.Profile(
        workspace_id=before.profile.workspace_id,
        profile_id=before.id,
        revision=before.profile.revision + 1,
        create_time=before.profile.create_time,
        update_time=timestamp(now),
        identities=map(wire, sorted(identities, key=rules.rank)),
        attributes={name: held for name, held in found.attributes.items() if held.HasField("value")},
        consents=map(holding, found.consents.values()),
        time_zone=found.time_zone[-1],
        locale=found.locale[-1],
        merged_profile_ids=merged_ids,
    )
    for consent in profile.consents:
        consent.ClearField("proof")
    return Person(profile, identities, told, known)


def _check(identities: frozenset[Identity], found: Knowledge) -> None:
    unset = sum(held.unset for held in found.attributes.values())
    for field, what, count, limit in (
        ("identities", "identities", len(identities), _MAX_IDENTITIES),
        ("attributes", "attributes", len(found.attributes) - unset, _MAX_ATTRIBUTES),
        ("attributes", "attributes that were unset", unset, _MAX_UNSET),
        ("consents", "consents", len(found.consents), _MAX_CONSENTS),
    ):
        if count > limit:
            message = f"{what}: the profile would have {count}, at most {limit} are kept; nothing was taken"
            raise Refusal(reason_pb2.REASON_PROFILE_LIMIT, message, [Violation(field, message)])
