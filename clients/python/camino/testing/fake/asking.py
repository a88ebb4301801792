"""Segments that ask each other, as `Condition.in_segment` does: each has been published, and there is an end to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from camino.segment.v1 import segment_pb2
from camino.testing.fake.condition_faults import inside
from camino.testing.fake.refusal import Violation
from camino.testing.fake.world import World
from camino.type.v1 import condition_pb2

_MAX_IN_A_ROW = 16
_MAX = 1_000

Asked = Mapping[str, list[tuple[str, str]]]
"""By segment the segments it asks, each as often as it does, with the path of the field that names it."""


def violations(
    world: World, workspace_id: str, segment_id: str, definition: segment_pb2.SegmentDefinition
) -> Iterator[Violation]:
    """What is wrong if a segment becomes what a definition says."""
    published = world.all(segment_pb2.Segment, workspace_id)
    asked = {id_: list(_named(segment.definition)) for id_, segment in published}
    found = []
    for path, other in (wanted := list(_named(definition))):
        if other != segment_id and other not in asked:
            found.append(Violation(path, f"there is no segment {other!r}; publish it first"))
        elif segment_id in _met({**asked, segment_id: []}, other):
            found.append(Violation(path, "comes back to this segment"))
    yield from found
    if found:
        return
    after = {**asked, segment_id: wanted}
    for id_ in after:
        if segment_id not in _met(after, id_):
            continue
        if (row := _row(after, id_)) > _MAX_IN_A_ROW:
            message = f"makes segment {id_!r} ask {row} in a row; at most {_MAX_IN_A_ROW} are allowed"
            yield Violation("definition.condition", message)
        elif (number := _number(after, id_, _MAX)) > _MAX:
            yield Violation("definition.condition", f"makes segment {id_!r} ask {number}; at most {_MAX} are allowed")


def _named(definition: segment_pb2.SegmentDefinition) -> Iterator[tuple[str, str]]:
    for path, message, _ in inside(definition.condition, "definition.condition"):
        if isinstance(message, condition_pb2.Condition) and message.WhichOneof("kind") == "in_segment":
            yield f"{path}.in_segment", message.in_segment


def _met(asked: Asked, start: str) -> set[str]:
    """A segment and all that it asks by way of others."""
    met, pending = set[str](), [start]
    while pending:
        id_ = pending.pop()
        if id_ not in met:
            met.add(id_)
            pending += [other for _, other in asked[id_]]
    return met


def _row(asked: Asked, start: str) -> int:
    """How many ask each other in a row."""
    row, ids = 0, {other for _, other in asked[start]}
    while ids:
        row, ids = row + 1, {other for id_ in ids for _, other in asked[id_]}
    return row


def _number(asked: Asked, start: str, most: int) -> int:
    """How many are asked in all, each as often as it is; counted until it's more than `most`."""
    number, pending = 0, [other for _, other in asked[start]]
    while pending and number <= most:
        number += 1
        pending += [other for _, other in asked[pending.pop()]]
    return number
