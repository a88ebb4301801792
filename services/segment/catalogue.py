"""What a workspace has published: which version of each segment serves, and which is on its way. Pure.

One catalogue is one document: every replica sees the segments of a workspace as of one edition, and a profile that was
evaluated at an edition was evaluated by exactly these versions.

A segment's first version serves from its publication on. A later one is *upcoming* until every profile has been
evaluated by it; the version before serves meanwhile, as if nothing had been published. Then it's *switched* to, and
when what that changes has been told, the segment is ready.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.chassis.errors import EtagMismatch, InvalidDefinition, Violation
from services.segment import references
from services.segment.references import Asked, Reference


@dataclass(frozen=True, slots=True)
class Version:
    """One published definition of a segment. It's filed under the etag, which is a digest of it."""

    number: int
    edition: int
    """The one by which profiles are to be evaluated anew: that of its publication, or of one that it asks, if later."""
    etag: str
    published_at: int
    asks: tuple[str, ...] = ()
    """The other segments that it asks, each as often as it does."""


@dataclass(frozen=True, slots=True)
class Head:
    """A segment's versions that matter."""

    created_at: int
    serving: Version
    serves_from: int
    """The edition of the catalogue from which it serves."""
    switched_at: int = 0
    """The instant from which it serves; 0 for a first version, by which memberships begin as they're computed."""
    ready: bool = False
    """Whether every profile has been evaluated by the serving version, and what followed from it has been told."""
    upcoming: Version | None = None
    former: Version | None = None
    """The one that served before: what time alone did until the switch, it did by this."""

    @property
    def newest(self) -> Version:
        return self.upcoming or self.serving


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The versions by segment id.

    `edition` grows with every publication and every switch. It's the instant of that, or one more than the edition
    before: so it grows even if the catalogue is deleted and begun anew, and each edition has only ever been one set of
    versions.
    """

    edition: int = 0
    heads: Mapping[str, Head] = field(default_factory=dict)

    @property
    def asked(self) -> Asked:
        """Which segments the newest version of each segment asks."""
        return {segment_id: head.newest.asks for segment_id, head in self.heads.items()}

    @property
    def demanded(self) -> int:
        """A profile evaluated at this edition has been evaluated by every version."""
        return max((head.newest.edition for head in self.heads.values()), default=0)

    @property
    def awaited(self) -> list[int]:
        """The editions of the versions by which some profiles may have to be evaluated still, in order."""
        heads = self.heads.values()
        upcoming = {head.upcoming.edition for head in heads if head.upcoming}
        return sorted(upcoming | {head.serving.edition for head in heads if not head.ready})

    @property
    def switched(self) -> int:
        """The greatest edition of a version that was switched to, ready or not; 0 if there is none. A replica that
        hasn't heard of the switch may go by the version before when all others are done with it."""
        return max((head.serving.edition for head in self.heads.values() if head.switched_at), default=0)

    def problems(self, segment_id: str, wanted: Sequence[Reference]) -> list[Violation]:
        """What is wrong with a definition that asks other segments so."""
        return list(references.problems(segment_id, wanted, self.asked, "definition.condition"))

    def with_published(
        self, segment_id: str, etag: str, expected_etag: str, now: int, wanted: Sequence[Reference] = ()
    ) -> Catalogue:
        """The catalogue with a definition, known by its etag, as the segment's newest version; itself when it's that
        already, so that publishing can be repeated. Who asks this segment is to be evaluated anew with it.

        Raises `InvalidDefinition` when the definition asks what it may not, and `EtagMismatch` when an etag is expected
        and another one is current.
        """
        head = self.heads.get(segment_id)
        current = head.newest.etag if head else ""
        if etag == current:
            return self
        if found := self.problems(segment_id, wanted):
            raise InvalidDefinition(found)
        if expected_etag and expected_etag != current:
            raise EtagMismatch(current)
        edition = max(self.edition + 1, now)
        asks = tuple(reference.segment_id for reference in wanted)
        if head is None:
            first = Version(1, edition, etag, now, asks)
            # It asks the versions that serve, and is to go along with them.
            goes_along = any(self.heads[other].upcoming for other in asks)
            published = Head(now, first, serves_from=edition, upcoming=first if goes_along else None)
        else:
            published = replace(head, upcoming=Version(head.newest.number + 1, edition, etag, now, asks))
        touched = {
            other: replace(self.heads[other], upcoming=replace(self.heads[other].newest, edition=edition))
            for other in references.dependents(segment_id, self.asked)
        }
        return Catalogue(edition, {**self.heads, **touched, segment_id: published})

    def with_switched(self, computed: int, now: int) -> Catalogue:
        """The catalogue when all profiles have been evaluated at the edition `computed`: the upcoming versions serve by
        which they have been. Itself when there are none."""
        switched = self._to_switch(computed)
        edition = max(self.edition + 1, now)
        heads = {
            segment_id: replace(
                head,
                serving=head.upcoming,
                serves_from=edition,
                switched_at=now,
                ready=False,
                upcoming=None,
                former=head.serving,
            )
            for segment_id, head in self.heads.items()
            if head.upcoming and segment_id in switched
        }
        return Catalogue(edition, {**self.heads, **heads}) if heads else self

    def _to_switch(self, computed: int) -> set[str]:
        """The segments to switch together: none without those that it asks, nor without those that ask it. Otherwise
        two versions of one segment would be asked at a time."""
        switched = {id_ for id_, head in self.heads.items() if head.upcoming and head.upcoming.edition <= computed}
        while True:
            held_up = {
                id_
                for id_ in switched
                if any(self.heads[other].upcoming and other not in switched for other in self.heads[id_].newest.asks)
            }
            for id_, head in self.heads.items():
                if id_ not in switched:
                    held_up |= switched.intersection(head.serving.asks)
            if not held_up:
                return switched
            switched -= held_up

    def with_ready(self, computed: int, told: int) -> Catalogue:
        """The catalogue when all profiles have been evaluated at the edition `computed`, and all that followed from
        what served at the edition `told` has been told. Itself when nothing is ready by that."""
        heads = {
            segment_id: replace(head, ready=True)
            for segment_id, head in self.heads.items()
            if not head.ready and head.serving.edition <= computed and head.serves_from <= told
        }
        return replace(self, heads={**self.heads, **heads}) if heads else self
