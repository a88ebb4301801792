"""Every time that two identities were seen together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from camino.testing.fake.people import Link, Pair, pair
from camino.testing.fake.rules import Identity


class Sightings:
    def __init__(self) -> None:
        self._seen: defaultdict[Identity, dict[Identity, set[int]]] = defaultdict(dict)

    def see(self, one: Identity, other: Identity, *at: int) -> None:
        for here, there in ((one, other), (other, one)):
            self._seen[here].setdefault(there, set()).update(at)

    def when(self, identity: Identity) -> dict[Identity, set[int]]:
        """The instants at which an identity was seen with each other one."""
        return {other: set(at) for other, at in self._seen.get(identity, {}).items()}

    def forget(self, identity: Identity, until: int = 2**63) -> None:
        """Forget with whom an identity was seen; up to an instant, if one is given."""
        for other, at in self.when(identity).items():
            left = {instant for instant in at if instant > until}
            for here, there in ((identity, other), (other, identity)):
                if left:
                    self._seen[here][there] = set(left)
                else:
                    self._seen[here].pop(there, None)

    def neighbourhood(self, start: Iterable[Identity]) -> set[Identity]:
        """All that were seen with some identities, or with those, and so on."""
        reached, near = set[Identity](), set(start)
        while near:
            reached |= near
            near = {other for identity in near for other in self._seen.get(identity, ())} - reached
        return reached

    def links(self, within: frozenset[Identity] | set[Identity]) -> dict[Pair, Link]:
        """The links between some identities."""
        return {ends: link for ends, link in self.links_of(within).items() if within.issuperset(ends)}

    def links_of(self, identities: Iterable[Identity]) -> dict[Pair, Link]:
        """The links that some identities have, also with others."""
        return {
            pair(identity, other): Link(min(at), max(at))
            for identity in identities
            for other, at in self._seen.get(identity, {}).items()
        }

    def snapshot(self) -> object:
        return {identity: self.when(identity) for identity, seen in self._seen.items() if seen}
