"""How services are found: by reflection, and by their health."""

from __future__ import annotations

from functools import partial

from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.target import Target
from camino.testing.rpcs import rpcs


def cases(point: Point) -> Cases:
    """Of a service at a place, by one of its methods."""
    subject = f"{point.rpc.service}@{point.place}" if point.place else point.rpc.service
    yield Case(subject, "is found and healthy", partial(is_found_and_healthy, point))


def is_found_and_healthy(point: Point, target: Target) -> None:
    """Reflection lists the service, and `grpc.health.v1` says that it serves."""
    if point.place >= len(target.places(point.rpc.service)):
        raise Broken(f"reflection lists too few {point.rpc.service} at {', '.join(target.addresses)}")
    if not target.serving(point.rpc, point.place):
        raise Broken(f"{point.rpc.service} doesn't say SERVING")


def knows_every_service(target: Target) -> None:
    """The suite knows every service of Camino's that is served: what it doesn't know, it doesn't prove."""
    unknown = {name for name in target.services if name.startswith("camino.")} - {rpc.service for rpc in rpcs()}
    if unknown:
        raise Broken(f"served, but not known to this version of camino-client: {', '.join(sorted(unknown))}")
