"""Who is who, by all links that were ever observed: the rule as it's told, and nothing that would make it fast.

The strongest links are taken first, each unless it would put two values of a unique namespace on one person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from camino.testing.fake.rules import Identity, Rules

Pair = tuple[Identity, Identity]
"""Two identities, in the order of their texts."""


@dataclass(frozen=True, slots=True)
class Link:
    """When two identities were seen together: the first time and the last."""

    first: int
    last: int


Links = Mapping[Pair, Link]


def pair(one: Identity, other: Identity) -> Pair:
    return (one, other) if one < other else (other, one)


def people(identities: Iterable[Identity], links: Links, rules: Rules) -> Sequence[frozenset[Identity]]:
    """The people that identities are, by the links between them."""
    person = {identity: frozenset((identity,)) for identity in identities}
    for one, other in sorted(links, key=lambda ends: _strength(ends, links[ends], rules), reverse=True):
        together = person[one] | person[other]
        if not two_people(together, rules):
            person.update(dict.fromkeys(together, together))
    return list(dict.fromkeys(person.values()))


def two_people(identities: Iterable[Identity], rules: Rules) -> bool:
    """Whether they hold two values of a unique namespace."""
    unique = [namespace for namespace, _ in set(identities) if rules.namespace(namespace).unique]
    return len(set(unique)) < len(unique)


def linked_since(one: Identity, other: Identity, links: Links) -> int | None:
    """Since when links that had been observed lead from one identity to another; None if none do."""
    instants = sorted({link.first for link in links.values()})
    return next((at for at in instants if other in _reached(one, at, links)), None)


def _reached(start: Identity, at: int, links: Links) -> set[Identity]:
    reached, known = {start}, [ends for ends, link in links.items() if link.first <= at]
    while near := {end for ends in known if reached.intersection(ends) for end in ends} - reached:
        reached |= near
    return reached


def _strength(ends: Pair, link: Link, rules: Rules) -> tuple[int, int, Pair]:
    return min(rules.namespace(namespace).priority for namespace, _ in ends), link.last, ends
