"""What a workspace has published: which version of which segment serves, and which of them are computed. Pure.

One catalogue is one document: every replica sees the segments of a workspace as of one edition, and a profile that was
evaluated at an edition was evaluated by exactly these versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.chassis.errors import EtagMismatch, InvalidDefinition, Violation
from services.segment import references
from services.segment.references import Asked, Reference


@dataclass(frozen=True, slots=True)
class Head:
    """A segment's serving version. Its definition is filed under the etag, which is a digest of it."""

    version: int
    edition: int
    """The one by which profiles are to be evaluated anew: that of its publication, or of one that it asks, if later."""
    etag: str
    created_at: int
    updated_at: int
    ready: bool = False
    """Whether every profile has been evaluated by it, and what followed from it has been published."""
    asks: tuple[str, ...] = ()
    """The other segments that it asks, each as often as it does."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The serving versions by segment id.

    `edition` grows with every publication. It's the instant of that, or one more than the edition before: so it grows
    even if the catalogue is deleted and begun anew, and each edition has only ever been one set of versions.
    """

    edition: int = 0
    heads: Mapping[str, Head] = field(default_factory=dict)

    @property
    def asked(self) -> Asked:
        """Which segments each segment asks."""
        return {segment_id: head.asks for segment_id, head in self.heads.items()}

    def problems(self, segment_id: str, wanted: Sequence[Reference]) -> list[Violation]:
        """What is wrong with a definition that asks other segments so."""
        return list(references.problems(segment_id, wanted, self.asked, "definition.condition"))

    def with_published(
        self, segment_id: str, etag: str, expected_etag: str, now: int, wanted: Sequence[Reference] = ()
    ) -> Catalogue:
        """The catalogue with a definition, known by its etag, as the segment's next version; itself when that serves
        already, so that publishing can be repeated. Who asks this segment is to be evaluated anew with it.

        Raises `InvalidDefinition` when the definition asks what it may not, and `EtagMismatch` when an etag is expected
        and another one is current.
        """
        head = self.heads.get(segment_id)
        current = head.etag if head else ""
        if etag == current:
            return self
        if found := self.problems(segment_id, wanted):
            raise InvalidDefinition(found)
        if expected_etag and expected_etag != current:
            raise EtagMismatch(current)
        edition = max(self.edition + 1, now)
        version, created_at = (head.version + 1, head.created_at) if head else (1, now)
        asks = tuple(reference.segment_id for reference in wanted)
        touched = {
            other: replace(self.heads[other], edition=edition, ready=False)
            for other in references.dependents(segment_id, self.asked)
        }
        published = Head(version, edition, etag, created_at, now, asks=asks)
        return Catalogue(edition, {**self.heads, **touched, segment_id: published})

    def with_computed(self, edition: int) -> Catalogue:
        """The catalogue when all profiles have been evaluated at an edition."""
        heads = {
            segment_id: head if head.ready or head.edition > edition else replace(head, ready=True)
            for segment_id, head in self.heads.items()
        }
        return replace(self, heads=heads)
