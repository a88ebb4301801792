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
    parts,
    requests,
    shape,
    statuses,
    streams,
    tellings,
    timing,
)
from camino.testing.rpcs import facts as published
from camino.testing.rpcs import rpcs

_OF_METHODS = (shape, requests, statuses, effects, paging, parts, streams, tellings, timing, callers)

_ASKED_BY_PROFILE = "camino.ops.v1.PersonalDataService"
"""All serve it but the profile service, which calls it."""


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
        for place in range(_places_of(rpc.service, places)):
            yield Point(rpc, place)


def _places_of(service: str, places: int) -> int:
    """How many serve a service for themselves, of so many places."""
    if service == _ASKED_BY_PROFILE:
        return max(places - 1, 1)
    return places if service.startswith("camino.ops.") else 1
