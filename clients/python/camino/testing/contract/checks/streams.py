"""Streams: each request is answered by one reply, in order, as the unary method would; so many are read ahead, and what
ends a stream ends it in its turn."""

from __future__ import annotations

from functools import partial
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Answer, Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.replies import alike
from camino.testing.contract.stage import Stage
from camino.testing.contract.streams import Stream
from camino.testing.contract.target import Target
from camino.testing.rpcs import Rpc, rpcs

_MANY = 24
_ITEMS = 60
"""Of a request that takes longer than those which come after it."""
_UNANSWERED = 8
_LOOKS = 20


def cases(point: Point) -> Cases:
    if point.rpc.streaming:
        yield Case(str(point), "answers in order", partial(answers_in_order, point))
        yield Case(str(point), "answers while it goes on", partial(answers_while_it_goes_on, point))
        yield Case(str(point), "answers as its unary twin", partial(answers_as_its_twin, point))
        yield Case(str(point), "ends for a broken request in its turn", partial(ends_in_its_turn, point))
        yield Case(str(point), "goes on where another ended", partial(goes_on_elsewhere, point))
        yield Case(str(point), "ends when no more is asked", partial(ends_when_no_more_is_asked, point))
        yield Case(str(point), "reads no further than it answers", partial(reads_no_further, point))


def answers_in_order(point: Point, target: Target) -> None:
    """As many answers as requests, in the order of the requests, each with the `sequence` of its own and a result for
    each of its items, also when an earlier one takes longer, and when items fail."""
    rpc = point.rpc
    requests = _requests(point, target, _MANY)
    for number, request in enumerate(requests):
        # What tells them apart is the caller's affair: any number, in no order, and more than once.
        request.sequence = (-(2**63), 2**63 - 1, 0, 7, 7, -1)[number % 6]
        items = getattr(request, rpc.items_field)
        if number % 3 == 0:
            items.extend([items[0]] * (_ITEMS - number))
        if number % 4 == 1:
            items.insert(0, type(items[0])())
    stream = target.stream(rpc, place=point.place)
    stream.send(*requests)
    for number, request in enumerate(requests):
        answer = _next(stream, request)
        failed = [result.HasField("error") for result in answer.reply.results]
        answer.must(failed[0] == (number % 4 == 1) and not any(failed[1:]), "only the item that is broken must fail")
    stream.must_end()


def answers_while_it_goes_on(point: Point, target: Target) -> None:
    """An answer comes when it's there, and not only when the caller has sent all."""
    stream = target.stream(point.rpc, place=point.place, timeout_s=target.patience_s)
    for request in _requests(point, target, 3):
        stream.send(request)
        _next(stream, request).must_be_taken()
    stream.must_end()


def answers_as_its_twin(point: Point, target: Target) -> None:
    """What was taken over a stream was taken: the unary method answers the same of it, and has no second effect; and
    the other way round."""
    rpc, twin = point.rpc, _twin(point.rpc)
    streamed = _requests(point, target, 2)
    for request, (first, second) in zip(streamed, ((rpc, twin), (twin, rpc)), strict=True):
        unary = twin.request(workspace_id=request.workspace_id)
        getattr(unary, rpc.items_field).extend(getattr(request, rpc.items_field))
        asked = {rpc: request, twin: unary}
        taken = target.call(first, asked[first], place=point.place).must_be_taken()
        before = target.state()
        other = target.call(second, asked[second], place=point.place)
        again = target.call(first, asked[first], place=point.place).must_be_taken()
        same = list(alike(other.must_be_taken()).results) == list(alike(taken).results)
        other.must(same, f"must answer of the same items as {first.method} did: {taken}")
        same = list(other.reply.results) == list(again.results)
        other.must(same, f"must answer as {first.method} does by now: {again}")
        other.must(target.state() == before, "what was taken before must have no second effect")


def ends_in_its_turn(point: Point, target: Target) -> None:
    """A request that breaks a rule as a whole ends the stream: after the answers to those before it, with its own
    error; and nothing that comes after it is let in."""
    rpc = point.rpc
    requests = _requests(point, target, 5)
    items = getattr(requests[0], rpc.items_field)
    items.extend([items[0]] * _ITEMS)
    requests[3].ClearField(rpc.items_field)
    entered = target.insight.entered(rpc) if target.insight else 0
    stream = target.stream(rpc, place=point.place)
    stream.send(*requests)
    for request in requests[:3]:
        _next(stream, request)
    answer = stream.answer()
    answer.must_fail("INVALID_ARGUMENT", reason_pb2.REASON_INVALID_FIELD)
    answer.must(rpc.items_field in dict(answer.violations), f"the violations must name {rpc.items_field}")
    if target.insight:
        let_in = target.insight.entered(rpc) - entered
        answer.must(let_in == 3, f"must let in the three requests before the broken one, and let in {let_in}")


def goes_on_elsewhere(point: Point, target: Target) -> None:
    """Whatever has no answer when a stream is broken off may be sent again over another: it's taken then, and what was
    taken before is not taken twice."""
    requests = _requests(point, target, _UNANSWERED)
    broken_off = target.stream(point.rpc, place=point.place)
    broken_off.send(*requests)
    _next(broken_off, requests[0])
    broken_off.cancel()
    results = _over_another(point, target, requests)
    before = target.state()
    again = _over_another(point, target, requests)
    if again != results:
        raise Broken(f"{point.rpc.full_name}: the same requests again are answered otherwise: {again}, not {results}")
    if target.state() != before:
        raise Broken(f"{point.rpc.full_name}: the same requests over another stream had a second effect")


def ends_when_no_more_is_asked(point: Point, target: Target) -> None:
    """A stream that is asked nothing ends well when its caller says so."""
    target.stream(point.rpc, place=point.place, timeout_s=target.patience_s).must_end()


def reads_no_further(point: Point, target: Target) -> None:
    """At most eight requests are taken in that have no answer."""
    seen = target.seen()
    requests = _requests(point, target, _MANY)
    before = seen.entered(point.rpc)
    with seen.hold(point.rpc) as held:
        stream = target.stream(point.rpc, place=point.place)
        stream.send(*requests)
        target.eventually(held.entered, "a request reaches its servicer")
        for _ in range(_LOOKS):
            target.pass_time()
            target.serving(point.rpc, point.place)
        taken_in = seen.entered(point.rpc) - before
        stream.cancel()
        if taken_in > _UNANSWERED:
            raise Broken(f"{point.rpc.full_name}: at most {_UNANSWERED} requests without an answer, not {taken_in}")
        target.eventually(held.cancelled, f"{point.rpc.full_name}: what a stream has begun ends with it")


def _over_another(point: Point, target: Target, requests: list[Any]) -> list[Any]:
    stream = target.stream(point.rpc, place=point.place)
    stream.send(*requests)
    replies = [_next(stream, request) for request in requests]
    stream.must_end()
    return [alike(answer.must_be_taken()) for answer in replies]


def _next(stream: Stream, request: Any) -> Answer:
    answer = stream.answer()
    reply = answer.must_be_ok()
    answer.must(reply.sequence == request.sequence, f"must have the sequence {request.sequence}")
    return answer


def _requests(point: Point, target: Target, count: int) -> list[Any]:
    """As many that would be taken, each about something of its own."""
    stage = Stage(target, point.place)
    requests = [stage.numbered(point.rpc, number) for number in range(count)]
    for number, request in enumerate(requests):
        request.sequence = number
    return requests


def _twin(rpc: Rpc) -> Rpc:
    """The unary method that takes the same items."""
    of_items = rpc.request.DESCRIPTOR.fields_by_name[rpc.items_field].message_type
    for twin in rpcs():
        field = twin.request.DESCRIPTOR.fields_by_name.get(rpc.items_field)
        if not twin.streaming and twin.service == rpc.service and field and field.message_type == of_items:
            return twin
    raise Broken(f"{rpc.full_name} streams, and no unary method takes the same items")
