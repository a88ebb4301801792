"""What calls change: reading nothing, and what is repeated nothing further."""

from __future__ import annotations

from functools import partial
from typing import Any

from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target
from google.protobuf.message import Message

_AT_ONCE = 8
_OK, _DUPLICATE = 1, 2


def cases(point: Point) -> Cases:
    if point.rpc.read_only:
        yield Case(str(point), "changes nothing", partial(changes_nothing, point))
    elif point.rpc.idempotent:
        yield Case(str(point), "acts once when repeated", partial(acts_once, point))
        yield Case(str(point), "acts once when sent at once", partial(acts_once_at_once, point))


def changes_nothing(point: Point, target: Target) -> None:
    """A method without side effects leaves the stores and the streams as they were."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    before = target.seen().state()
    target.call(point.rpc, request, place=point.place).must_be_ok()
    if target.seen().state() != before:
        raise Broken(f"{point.rpc.full_name} declares NO_SIDE_EFFECTS, and changed what is stored or published")


def acts_once(point: Point, target: Target) -> None:
    """The same request again is answered with an equal reply and has no second effect."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    first = target.call(point.rpc, request, place=point.place).must_be_ok()
    before = target.state()

    def again() -> bool:
        reply = target.call(point.rpc, request, place=point.place).must_be_ok()
        nonlocal first
        same = _alike(reply) == _alike(first)
        # A count that still moves on its own, such as of a segment being computed, may differ once, not for ever.
        first = reply
        return same

    target.eventually(again, f"{point.rpc.full_name} answers the same request with an equal reply")
    if target.state() != before:
        raise Broken(f"{point.rpc.full_name}: the same request again had a second effect")


def acts_once_at_once(point: Point, target: Target) -> None:
    """Many copies of one request at the same time have the effect of one."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    calls = [target.start(point.rpc, request, place=point.place) for _ in range(_AT_ONCE)]
    for call in calls:
        call.answer().must_be_ok()
    before = target.state()
    target.call(point.rpc, request, place=point.place).must_be_ok()
    if target.state() != before:
        raise Broken(f"{point.rpc.full_name}: after copies of a request at once, the same again had an effect")


def _alike(reply: Message) -> Any:
    """A reply in which what was taken, and what was taken before, are the same."""
    alike = type(reply)()
    alike.CopyFrom(reply)
    for result in getattr(alike, "results", ()):
        if result.outcome == _DUPLICATE:
            result.outcome = _OK
    return alike
