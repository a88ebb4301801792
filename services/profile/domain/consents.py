"""What a person agreed to. Pure.

Of one identity, the newest said holds; of two at the same instant the stricter. When two profiles turn out to be one
person, what was told of each stands side by side, and the stricter holds: that somebody agreed under one name says
nothing of what had been refused under another. But what is said once the names are known to be one person's holds in
place of all that was said before, under any of them.

That is a partial order of facts, by when they were said and since when the identities they were told of are one
person's; what is kept are its greatest. So the same facts end the same, in any order, before or after a merge: as long
as no identity moves to somebody else. What was told of one that does stays with the profile that it was told to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from services.profile.domain.links import Links, together_since
from services.profile.domain.values import Identity


class ConsentState(IntEnum):
    """As in the contract. The greater is the stricter."""

    UNKNOWN = 0
    OPTED_IN = 1
    OPTED_OUT = 2


Topic = tuple[int, str]
"""(channel, topic), as in the contract."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person said, when and where, and which of their identities it was told of."""

    state: ConsentState
    changed_at: int
    source: str
    told_of: Identity


Consents = Mapping[Topic, tuple[Consent, ...]]
"""What stands, by topic: hardly ever more than one."""


def settled(
    consents: Consents, told: Mapping[Topic, tuple[Consent, ...]], links: Links
) -> dict[Topic, tuple[Consent, ...]]:
    """What stands of what stood and what was told, by the links between a profile's identities. What stood side by side
    is looked at again: it may be known by now that one was said of the other's person."""
    result = dict(consents)
    since: dict[Identity, dict[Identity, int]] = {}

    def supersedes(new: Consent, old: Consent) -> bool:
        if (new.changed_at, new.state, new.source, new.told_of) <= (old.changed_at, old.state, old.source, old.told_of):
            return False
        if new.told_of == old.told_of:
            return True
        if new.told_of not in since:
            since[new.told_of] = together_since(new.told_of, links)
        # An identity that has left the profile since was the person's when it was told of.
        return since[new.told_of].get(old.told_of, new.changed_at) <= new.changed_at

    for topic in told.keys() | {topic for topic, standing in consents.items() if len(standing) > 1}:
        candidates = tuple(dict.fromkeys((*result.get(topic, ()), *told.get(topic, ()))))
        if len(candidates) > 1:
            candidates = tuple(
                one for one in candidates if not any(supersedes(other, one) for other in candidates if other is not one)
            )
        result[topic] = tuple(sorted(candidates, key=lambda one: (one.changed_at, one.state, one.source, one.told_of)))
    return result


def effective(standing: tuple[Consent, ...]) -> Consent:
    """What holds of what stands about a topic: the strictest, and of equal ones the newest."""
    return max(standing, key=lambda one: (one.state, one.changed_at, one.source, one.told_of))
