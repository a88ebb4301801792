"""Who is who: identities that were seen together, and the people they make. Pure.

The people are a function of the set of all links that were ever observed, so it doesn't matter in which order, in which
batches or how often they're told.

To take another link in, no more of them need be known than what touches the profiles at its ends, unless it has to
give way or others do: as long as two people don't clash, a link between them or within one of them is simply taken, and
changes nothing else. (Whatever stood when the others were taken in order of their strength stands then as well; and
what was refused was refused for a clash, which more identities don't end.)

That is so of links that are remembered: where an identity was refused more than `MAX_REFUSED`, the people are a
function of the last of them. And when an identity is unlinked, what it stood against doesn't come back by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.profile.domain.rules import Rules
from services.profile.domain.values import Identity

MAX_REFUSED = 20
"""Links of one identity that did not hold and are remembered, in case that what stood against them goes."""

Pair = tuple[Identity, Identity]
"""Two identities, in order."""


@dataclass(frozen=True, slots=True)
class Seen:
    """When two identities were seen together: the first time and the last."""

    first: int
    last: int

    def with_(self, other: Seen) -> Seen:
        return Seen(min(self.first, other.first), max(self.last, other.last))


Links = Mapping[Pair, Seen]


def pair(one: Identity, other: Identity) -> Pair:
    return (one, other) if one < other else (other, one)


def head(identities: Iterable[Identity], rules: Rules) -> Identity:
    """Whom facts that come with these identities are about: the one of the namespace with the highest priority."""
    return min(identities, key=lambda identity: rank(identity, rules))


def rank(identity: Identity, rules: Rules) -> tuple[int, Identity]:
    """Identities in order: of higher priority first, then by their text."""
    return -rules.namespace(identity[0]).priority, identity


def united(*of: Links) -> dict[Pair, Seen]:
    """All of several sets of links."""
    result: dict[Pair, Seen] = {}
    for links in of:
        for ends, seen in links.items():
            result[ends] = result[ends].with_(seen) if ends in result else seen
    return result


def clashes(identities: Iterable[Identity], rules: Rules) -> bool:
    """Whether they hold two values of a unique namespace, and so can't be one person's."""
    unique = [namespace for namespace, _ in set(identities) if rules.namespace(namespace).unique]
    return len(unique) != len(set(unique))


def people(identities: Iterable[Identity], links: Links, rules: Rules) -> list[frozenset[Identity]]:
    """The people that identities are, by the links between them: the strongest first, each unless it would put two
    values of a unique namespace on one person."""
    person: dict[Identity, set[Identity]] = {identity: {identity} for identity in identities}
    for ends in links:
        for identity in ends:
            person.setdefault(identity, {identity})
    for one, other in sorted(links, key=lambda ends: _strength(ends, links[ends], rules), reverse=True):
        here, there = person[one], person[other]
        if here is there or clashes(here | there, rules):
            continue
        if len(here) < len(there):
            here, there = there, here
        here |= there
        for identity in there:
            person[identity] = here
    return [frozenset(found) for found in {id(found): found for found in person.values()}.values()]


def together_since(start: Identity, links: Links) -> dict[Identity, int]:
    """For each identity that is linked with one, however far: when they were first known to be the same person's.

    That is the earliest instant by which links that had been observed lead from one to the other.
    """
    since: dict[Identity, int] = {}
    neighbours: dict[Identity, list[tuple[int, Identity]]] = {}
    for (one, other), seen in links.items():
        neighbours.setdefault(one, []).append((seen.first, other))
        neighbours.setdefault(other, []).append((seen.first, one))
    reach = {start: -(2**63)}
    while reach:
        nearest = min(reach, key=lambda identity: (reach[identity], identity))
        at = since[nearest] = reach.pop(nearest)
        for first, neighbour in neighbours.get(nearest, ()):
            if neighbour not in since:
                reach[neighbour] = min(reach.get(neighbour, 2**63), max(at, first))
    return since


def remembered(links: Links, within: frozenset[Identity]) -> dict[Pair, Seen]:
    """Of links, those within some identities, and of each of these the last that lead elsewhere."""
    kept: dict[Pair, Seen] = {}
    elsewhere: dict[Identity, list[Pair]] = {}
    for ends, seen in links.items():
        inside = [identity for identity in ends if identity in within]
        if len(inside) == 2:
            kept[ends] = seen
        elif inside:
            elsewhere.setdefault(inside[0], []).append(ends)
    for pairs in elsewhere.values():
        pairs.sort(key=lambda ends: (links[ends].last, ends), reverse=True)
        kept.update((ends, links[ends]) for ends in pairs[:MAX_REFUSED])
    return kept


def _strength(ends: Pair, seen: Seen, rules: Rules) -> tuple[int, int, Pair]:
    weaker = min(rules.namespace(namespace).priority for namespace, _ in ends)
    return weaker, seen.last, ends


def star(identities: Sequence[Identity], at: int, rules: Rules) -> dict[Pair, Seen]:
    """The links that identities which come together make: the first of them with each other."""
    if len(identities) < 2:
        return {}
    centre = head(identities, rules)
    return {pair(centre, identity): Seen(at, at) for identity in identities if identity != centre}
