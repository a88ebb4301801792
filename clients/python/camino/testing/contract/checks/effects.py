"""What calls change: reading nothing, what is repeated nothing further, and the others what they say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from camino.testing.contract.answers import Answer, Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.examples import example
from camino.testing.contract.replies import alike, resource, says, told
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target
from camino.testing.rpcs import Rpc, rpcs
from google.protobuf.descriptor import FieldDescriptor

_AT_ONCE = 8


def cases(point: Point) -> Cases:
    if point.rpc.read_only:
        yield Case(str(point), "changes nothing", partial(changes_nothing, point))
    else:
        yield Case(str(point), "does what it says", partial(does_what_it_says, point))
        if point.rpc.idempotent:
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


def does_what_it_says(point: Point, target: Target) -> None:
    """The reply says what was asked for, and reading the resource afterwards says the same."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    answer = target.call(point.rpc, request, place=point.place)
    answer.must_be_taken()
    must_be_about_it(answer)
    for path, expected in example(point.rpc.full_name).gives.items():
        found = told(answer.reply, path)
        answer.must(found == expected, f"its {path} must be {expected}, not {found}")
    written = resource(answer.reply)
    for get in _readers(point.rpc, request):
        ids = {name: getattr(request, name) for name in _ids(get)}
        read = target.call(get, get.request(**ids))
        [field] = [field.name for field in get.reply.DESCRIPTOR.fields if field.message_type]
        same = alike(read.must_be_ok()) == alike(get.reply(**{field: written}))
        read.must(same, f"must read what {point.rpc.method} answered: {written}")


def must_be_about_it(answer: Answer) -> None:
    """What the request and the resource in the reply both have is the same in both: ids, a definition, a state."""
    about = resource(answer.reply) if answer.reply else None
    if about is None:
        return
    completed = example(answer.rpc.full_name).completed
    for field, value in answer.request.ListFields():
        same = about.DESCRIPTOR.fields_by_name.get(field.name)
        if same and _kind(same) == _kind(field) and field.name != "etag":
            found = getattr(about, field.name)
            held = says(found, value) if completed else found == value
            answer.must(held, f"must be about the {field.name} of the request")


def acts_once(point: Point, target: Target) -> None:
    """The same request again is answered with an equal reply and has no second effect."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    first = target.call(point.rpc, request, place=point.place).must_be_ok()
    before = target.state()
    again = target.call(point.rpc, request, place=point.place)
    again.must(alike(again.must_be_ok()) == alike(first), f"the reply must equal the first one: {first}")
    if target.state() != before:
        raise Broken(f"{point.rpc.full_name}: the same request again had a second effect")


def acts_once_at_once(point: Point, target: Target) -> None:
    """Copies of one request at the same time are answered alike and have the effect of one."""
    rpc, stage = point.rpc, Stage(target, point.place)
    request = stage.request(rpc)
    calls = [target.start(rpc, request, place=point.place) for _ in range(_AT_ONCE)]
    answers = [call.answer() for call in calls]
    for answer in answers:
        same = alike(answer.must_be_ok()) == alike(answers[0].must_be_ok())
        answer.must(same, f"all must be like {answers[0].reply}")
    for listing in _listings(rpc):
        read = target.call(listing, stage.request(listing)).must_be_ok()
        found = len(getattr(read, listing.listed))
        if found != 1:
            raise Broken(f"{rpc.full_name}: {_AT_ONCE} copies at once made {found} of what {listing.full_name} lists")
    before = target.state()
    target.call(rpc, request, place=point.place).must_be_ok()
    if target.state() != before:
        raise Broken(f"{rpc.full_name}: after copies of a request at once, the same again had an effect")


def _readers(rpc: Rpc, request: Any) -> Iterator[Rpc]:
    """The method that reads by its ids the resource in another one's reply."""
    field = next((f for f in rpc.reply.DESCRIPTOR.fields if f.message_type and not f.is_repeated), None)
    if field is None:
        return
    for get in rpcs():
        reads = get.service == rpc.service and get.method == f"Get{field.message_type.name}"
        if reads and all(hasattr(request, name) for name in _ids(get)):
            yield get


def _ids(rpc: Rpc) -> list[str]:
    return [name for name in rpc.request.DESCRIPTOR.fields_by_name if name.endswith("_id")]


def _kind(field: FieldDescriptor) -> tuple[object, ...]:
    return field.type, field.message_type, field.is_repeated


def _listings(rpc: Rpc) -> Iterator[Rpc]:
    """The lists that hold one item for each time the method acts."""
    for listing in rpcs():
        found = example(listing.full_name) if listing.pages else None
        if found and [many.call for many in found.many] == [rpc.full_name] and found.after == (rpc.full_name,):
            yield listing
