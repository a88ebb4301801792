"""A workspace's published segments, ready to be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from services.segment.domain import NEVER, Definition, Facts
from services.segment.evaluate import Decided, Dependencies, compiled, depends_on, membership


@dataclass(frozen=True, slots=True)
class Published:
    """One version of a segment."""

    segment_id: str
    version: int
    edition: int
    """The workspace's edition that brought it, or one of those it asks."""
    definition: Definition
    ask: Decided
    """Says whether a profile is a member at an instant, and until when at least, if nothing happens."""
    needs: Dependencies
    """What it depends on, also by way of the segments it asks."""
    serves_from: int = 0
    """The workspace's edition from which it serves; 0 for one that doesn't, or not any more."""
    switched_at: int = 0
    """The instant from which it serves; 0 for a first version, by which memberships begin as it's computed."""

    @classmethod
    def of(
        cls,
        segment_id: str,
        version: int,
        edition: int,
        definition: Definition,
        others: Mapping[str, Published] = MappingProxyType({}),
        *,
        serves_from: int = 0,
        switched_at: int = 0,
    ) -> Published:
        """`others` has all segments that this one asks. Raises KeyError if it hasn't."""
        needs = depends_on(definition.condition)
        asked = {other: others[other] for other in needs.segments}
        condition = compiled(definition.condition, {other: published.ask for other, published in asked.items()})
        for published in asked.values():
            needs |= published.needs
        ask = membership(condition, definition.missing)
        return cls(segment_id, version, edition, definition, ask, needs, serves_from, switched_at)


class Rules:
    """All that is published in a workspace at one edition, and which segments a fact touches.

    The edition grows with each publication and each switch, so it says of a profile which versions it has been
    evaluated by: those whose edition isn't greater than the profile's.
    """

    __slots__ = (
        "_places",
        "all",
        "by_attribute",
        "by_consent",
        "by_event_type",
        "by_id",
        "by_zone",
        "edition",
        "former",
        "of_anybody",
        "upcoming",
    )

    def __init__(
        self,
        edition: int,
        serving: Iterable[Published],
        upcoming: Iterable[Published] = (),
        former: Iterable[Published] = (),
    ) -> None:
        self.edition = edition
        self.by_id: Mapping[str, Published] = {segment.segment_id: segment for segment in serving}
        """The versions that serve."""
        self.upcoming: Mapping[str, Published] = {segment.segment_id: segment for segment in upcoming}
        """The versions that will serve when every profile has been evaluated by them."""
        self.former: Mapping[str, Published] = {segment.segment_id: segment for segment in former}
        """The versions that served before the ones that do."""
        self.all = [*self.by_id.values(), *self.upcoming.values()]
        self._places = {(segment.segment_id, segment.serves_from): place for place, segment in enumerate(self.all)}
        self.of_anybody = [segment for segment in self.all if _may_hold_of_nobody(segment)]
        """The versions that may have somebody as a member of whom nothing is known that they ask for."""
        self.by_attribute: dict[str, list[Published]] = {}
        self.by_event_type: dict[str, list[Published]] = {}
        self.by_consent: dict[str, list[Published]] = {}
        self.by_zone = [segment for segment in self.all if segment.needs.zone]
        for segment in self.all:
            for name in segment.needs.attributes:
                self.by_attribute.setdefault(name, []).append(segment)
            for kind in segment.needs.event_types:
                self.by_event_type.setdefault(kind, []).append(segment)
            for key in segment.needs.consents:
                self.by_consent.setdefault(key, []).append(segment)

    def in_order(self, segments: Iterable[Published]) -> list[Published]:
        """Versions in one order, whatever touched them, and each once: it's the order in which what follows is told."""
        found = {self._places[segment.segment_id, segment.serves_from]: segment for segment in segments}
        return [found[place] for place in sorted(found)]

    def serving_since(self, edition: int) -> list[Published]:
        """The versions that a profile last evaluated at `edition` isn't a member by yet, or no member, in the order of
        the instants from which they serve: last those by which memberships begin now."""
        found = [segment for segment in self.by_id.values() if segment.serves_from > edition]
        return sorted(found, key=lambda segment: (not segment.switched_at, segment.switched_at))

    def upcoming_since(self, edition: int) -> list[Published]:
        """The upcoming versions that a profile last evaluated at `edition` hasn't been evaluated by."""
        return [segment for segment in self.upcoming.values() if segment.edition > edition]


def _may_hold_of_nobody(segment: Published) -> bool:
    """Whether it says anything but no, for ever, of somebody of whom nothing is known. No such verdict depends on the
    instant: of no facts, none comes or goes."""
    try:
        return segment.ask(Facts({}, {}), 0) != (False, NEVER)
    except Exception:
        return True


NO_RULES = Rules(0, ())
