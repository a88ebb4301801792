"""Segments that ask each other: there is an end to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter

from services.chassis.errors import Violation
from services.segment.domain import Condition, InSegment, inside

MOST_IN_A_ROW = 16
"""One asks another, that one another, and so on: so the evaluator's calls don't go deeper than Python's may."""
MOST = 1_000
"""Of segments asked by way of each other, each as often as it's asked: so a verdict's time is bounded."""

Asked = Mapping[str, Sequence[str]]
"""The segments that each segment of a workspace asks, each as often as it does."""


@dataclass(frozen=True, slots=True)
class Reference:
    segment_id: str
    path: str
    """Of the field that names it."""


def references(condition: Condition, path: str) -> list[Reference]:
    """Where a condition that stands at `path` asks other segments."""
    return [
        Reference(node.segment_id, f"{where}.in_segment")
        for node, where, _ in inside(condition, path)
        if isinstance(node, InSegment)
    ]


def problems(segment_id: str, wanted: Sequence[Reference], asked: Asked, path: str) -> Iterator[Violation]:
    """What is wrong if a segment, whose condition stands at `path`, asks those of `wanted`."""
    found = False
    for reference in wanted:
        if reference.segment_id != segment_id and reference.segment_id not in asked:
            found = True
            yield Violation(reference.path, f"there is no segment {reference.segment_id!r}; publish it first")
        elif way := _way(reference.segment_id, segment_id, asked):
            found = True
            yield Violation(reference.path, f"comes back to this segment: {' asks '.join((segment_id, *way))}")
    if found:
        return
    after = {**asked, segment_id: [reference.segment_id for reference in wanted]}

    @cache
    def reach(id_: str) -> tuple[int, int]:
        """How many are asked in a row, and how many in all."""
        further = [reach(other) for other in after[id_]]
        return max((1 + row for row, _ in further), default=0), sum(1 + number for _, number in further)

    # From the innermost on, because `reach` must not go deep itself.
    touched = {segment_id, *dependents(segment_id, asked)}
    for id_ in in_order(after):
        row, number = reach(id_)
        who = "asks" if id_ == segment_id else f"makes segment {id_!r} ask"
        if id_ in touched and row > MOST_IN_A_ROW:
            yield Violation(path, f"{who} {row} segments in a row; at most {MOST_IN_A_ROW} are allowed")
        elif id_ in touched and number > MOST:
            yield Violation(path, f"{who} {number} segments by way of others; at most {MOST} are allowed")


def dependents(segment_id: str, asked: Asked) -> set[str]:
    """The segments that ask one, also by way of others."""
    found: set[str] = set()
    for id_ in in_order(asked):
        if any(other == segment_id or other in found for other in asked[id_]):
            found.add(id_)
    return found


def in_order(asked: Asked) -> Iterable[str]:
    """Each segment after those it asks."""
    return TopologicalSorter(asked).static_order()


def _way(start: str, end: str, asked: Asked) -> list[str]:
    """From one segment to another by what they ask; empty if there is no way."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop()
        if way[-1] == end:
            return way
        for other in asked.get(way[-1], ()):
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []
