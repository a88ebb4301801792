"""Callers that don't wait: deadlines and cancellation reach the servicer, and the service goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target

_SHORT_S = 0.05
_TOO_SHORT_S = 0.000_01


def cases(point: Point) -> Cases:
    yield Case(str(point), "keeps a deadline", partial(keeps_a_deadline, point))
    yield Case(str(point), "stops when cancelled", partial(stops_when_cancelled, point))
    yield Case(str(point), "survives the impatient", partial(survives_the_impatient, point))


def keeps_a_deadline(point: Point, target: Target) -> None:
    """When the caller's deadline has passed, the servicer no longer works for it."""
    request = Stage(target, point.place).request(point.rpc)
    timeout_s = _SHORT_S
    with target.seen().hold(point.rpc) as held:
        # On a busy machine a deadline can pass before the call has come anywhere.
        while not held.entered():
            timeout_s *= 2
            answer = target.call(point.rpc, request, place=point.place, timeout_s=timeout_s)
            answer.must(answer.status == "DEADLINE_EXCEEDED", "must fail with DEADLINE_EXCEEDED")
        target.eventually(held.cancelled, f"{point.rpc.full_name}: past its deadline, a call ends in the servicer, too")


def stops_when_cancelled(point: Point, target: Target) -> None:
    """When the caller cancels, the servicer no longer works for it."""
    request = Stage(target, point.place).request(point.rpc)
    with target.seen().hold(point.rpc) as held:
        call = target.start(point.rpc, request, place=point.place)
        target.eventually(held.entered, "a call reaches its servicer")
        call.cancel()
        answer = call.answer()
        answer.must(answer.status == "CANCELLED", "must end as CANCELLED")
        target.eventually(held.cancelled, f"{point.rpc.full_name}: a call that was cancelled ends in the servicer, too")


def survives_the_impatient(point: Point, target: Target) -> None:
    """Calls that nobody waits for don't keep the next one from its answer."""
    request = Stage(target, point.place).request(point.rpc)
    for _ in range(3):
        target.call(point.rpc, request, place=point.place, timeout_s=_TOO_SHORT_S)
        target.start(point.rpc, request, place=point.place).cancel()
    with ThreadPoolExecutor(1) as calling:
        call = calling.submit(target.call, point.rpc, request, place=point.place)
        # Time passes meanwhile: what they left half done may have to be waited for.
        target.eventually(call.done, f"{point.rpc.full_name}: after impatient callers, the next is answered")
        call.result().must_be_ok()
    if not target.serving(point.rpc, point.place):
        raise Broken(f"{point.rpc.full_name}: after impatient callers, the service isn't healthy")
