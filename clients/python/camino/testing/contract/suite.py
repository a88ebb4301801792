"""The whole of it: every case that this version of the contract has."""

from __future__ import annotations

from collections.abc import Iterator

from camino.testing.contract.cases import Case, Point
from camino.testing.contract.checks import (
    callers,
    deletion,
    discovery,
    effects,
    facts,
    paging,
    requests,
    shape,
    statuses,
    timing,
)
from camino.testing.rpcs import facts as published
from camino.testing.rpcs import rpcs

_OF_METHODS = (shape, requests, statuses, effects, paging, timing, callers)


def cases(places: int = 1) -> tuple[Case, ...]:
    """Everything to prove. `places` is how many services there are apart from each other: each serves the methods of
    `camino.ops` for itself."""
    return tuple(_cases(places))


def _cases(places: int) -> Iterator[Case]:
    yield Case("camino", "is known as a whole", discovery.knows_every_service)
    services = dict[tuple[str, int], Point]()
    for point in points(places):
        services.setdefault((point.rpc.service, point.place), point)
    for point in services.values():
        yield from discovery.cases(point)
    for point in points(places):
        for checks in _OF_METHODS:
            yield from checks.cases(point)
    for kind in published():
        yield from facts.cases(kind)
    yield from deletion.cases()


def points(places: int = 1) -> Iterator[Point]:
    """Every method at every place that serves it."""
    for rpc in rpcs():
        for place in range(places if rpc.service.startswith("camino.ops.") else 1):
            yield Point(rpc, place)
