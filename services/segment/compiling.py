"""From a catalogue to rules that can be asked. Pure.

Each version asks those of its time: one that serves asks those that serve, an upcoming one asks upcoming ones where
there are any, and a former one asks those that served beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from services.segment.catalogue import Catalogue, Head, Version
from services.segment.domain import Definition
from services.segment.references import in_order
from services.segment.rules import Published, Rules

Read = Callable[[str, str], Definition]
"""A version's definition, by the segment's id and the version's etag."""

Versions = Mapping[str, Published]
"""By segment."""


def rules(catalogue: Catalogue, before: Rules, read: Read) -> Rules:
    """The rules of a catalogue. What the rules `before` have compiled isn't compiled again."""
    serving = _serving(catalogue, before, read)
    upcoming = _upcoming(catalogue, before.upcoming, serving, read)
    former = _former(catalogue, before.former, serving, read)
    return Rules(catalogue.edition, serving.values(), upcoming.values(), former.values())


def _serving(catalogue: Catalogue, before: Rules, read: Read) -> Versions:
    found: dict[str, Published] = {}
    for segment_id in in_order({id_: head.serving.asks for id_, head in catalogue.heads.items()}):
        head = catalogue.heads[segment_id]
        known, foreseen = before.by_id.get(segment_id), before.upcoming.get(segment_id)
        if known and known.serves_from == head.serves_from:
            found[segment_id] = known
            continue
        if not foreseen or foreseen.edition != head.serving.edition:
            foreseen = _published(segment_id, head.serving, found, read)
        found[segment_id] = replace(foreseen, serves_from=head.serves_from, switched_at=head.switched_at)
    return found


def _upcoming(catalogue: Catalogue, before: Versions, serving: Versions, read: Read) -> Versions:
    found: dict[str, Published] = {}
    for segment_id in in_order(catalogue.asked):
        if version := catalogue.heads[segment_id].upcoming:
            known = before.get(segment_id)
            if known is None or known.edition != version.edition:
                known = _published(segment_id, version, {**serving, **found}, read)
            found[segment_id] = known
    return found


def _former(catalogue: Catalogue, before: Versions, serving: Versions, read: Read) -> Versions:
    found: dict[str, Published] = {}
    versions = {id_: (head.former, head) for id_, head in catalogue.heads.items() if head.former}
    beside = {
        id_: [other for other in former.asks if _served_beside(catalogue.heads[other], head)]
        for id_, (former, head) in versions.items()
    }
    for segment_id in in_order(beside):
        former, _ = versions[segment_id]
        known = before.get(segment_id)
        if known is None or known.edition != former.edition:
            others = {other: found[other] for other in beside[segment_id]}
            known = _published(segment_id, former, {**serving, **others}, read)
        found[segment_id] = known
    return found


def _served_beside(other: Head, head: Head) -> bool:
    """Whether it was the other one's former version that served beside this one's: it was switched no earlier."""
    return other.former is not None and other.serves_from >= head.serves_from


def _published(segment_id: str, version: Version, others: Versions, read: Read) -> Published:
    return Published.of(segment_id, version.number, version.edition, read(segment_id, version.etag), others)
