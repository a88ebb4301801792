"""Lists by pages (AIP-158): everything, each once, in one order, so many at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.ops.v1 import personal_data_service_pb2
from camino.testing.contract.answers import Answer, Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.examples import example
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import OutOfReach, Target
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message

_MANY = 7
_SIZE = 3
_LATER = 100
_MEANWHILE = 4
_MOST_PAGES = 1_000


def cases(point: Point) -> Cases:
    if point.rpc.pages:
        yield Case(str(point), "pages completely", partial(pages_completely, point))
        yield Case(str(point), "pages stably while more comes", partial(pages_stably, point))
        yield Case(str(point), "refuses a foreign page token", partial(refuses_a_foreign_token, point))


def pages_completely(point: Point, target: Target) -> None:
    """By small pages one gets what one gets at once, in the same order; no page is larger than asked."""
    request, _ = _many(point, target)

    def alike() -> list[str] | None:
        whole = _pages(point, target, _sized(request, 0))
        listed = _pages(point, target, _sized(request, _SIZE))
        # What comes by itself, such as the runs of events, may still be coming.
        return listed if listed == whole else None

    listed = target.eventually(alike, f"{point.rpc.full_name}: pages of {_SIZE} list what one page does")
    if len(set(listed)) < len(listed):
        raise Broken(f"{point.rpc.full_name} lists something twice: {listed}")
    if example(point.rpc.full_name).order == "id" and listed != sorted(listed):
        raise Broken(f"{point.rpc.full_name} must list in the order of ids: {listed}")
    if "total_size" in point.rpc.reply.DESCRIPTOR.fields_by_name:
        total = target.call(point.rpc, _sized(request, 1), place=point.place).must_be_ok().total_size
        if total != len(listed):
            raise Broken(f"{point.rpc.full_name} lists {len(listed)} and says that there are {total}")


def pages_stably(point: Point, target: Target) -> None:
    """What was there when one began is listed once, whatever comes meanwhile."""
    request, add = _many(point, target)
    before = _pages(point, target, _sized(request, 0))
    numbers = count(_LATER)
    listed = _pages(point, target, _sized(request, _SIZE), between=lambda: add(next(numbers)))
    if not set(before) <= set(listed):
        raise Broken(f"{point.rpc.full_name} left out {set(before) - set(listed)} as others came")
    if len(set(listed)) < len(listed):
        raise Broken(f"{point.rpc.full_name} lists something twice as others come: {listed}")


def refuses_a_foreign_token(point: Point, target: Target) -> None:
    """A token that the method didn't make is refused by name, rather than taken for some place in the list: also one
    of the same list of another workspace."""
    stage = Stage(target, point.place)
    request = stage.unprepared(point.rpc) if not example(point.rpc.full_name).after else stage.request(point.rpc)
    tokens = ["foreign", "MA==", "~", "é"]
    if example(point.rpc.full_name).many:
        elsewhere, _ = _many(point, target)
        answer = target.call(point.rpc, _sized(elsewhere, 1), place=point.place)
        tokens.append(answer.must_be_ok().next_page_token)
        answer.must(bool(tokens[-1]), "a page of one must lead on to another, of many")
    for token in tokens:
        request.page_token = token
        answer = target.call(point.rpc, request, place=point.place)
        answer.must_fail("INVALID_ARGUMENT", reason_pb2.REASON_INVALID_PAGE_TOKEN)
        answer.must([field for field, _ in answer.violations] == ["page_token"], "must name page_token")


def _many(point: Point, target: Target) -> tuple[Any, Callable[[int], object]]:
    """A list's request with many items to list, and how to have more of them."""
    rpc, stage = point.rpc, Stage(target, point.place)
    found = example(rpc.full_name)
    if not found.many:
        make = target.needs.get("dead_letter")
        if make is None or rpc.method != "ListDeadLetters":
            raise OutOfReach(f"{rpc.full_name} has no way to have many items")

        def add(_number: int) -> object:
            return make(stage.workspace_id, point.place)
    else:

        def add(number: int) -> object:
            return [stage.varied(many.call, many.vary, number) for many in found.many]

    request = stage.request(rpc)
    for number in range(_MANY):
        add(number)
    more = count(_MANY)
    target.eventually(
        lambda: len(_pages(point, target, _sized(request, 0))) >= _MANY,
        f"{rpc.full_name} lists {_MANY} items",
        nudge=lambda: add(next(more)),
    )
    return request, add


def _sized(request: Any, size: int) -> Any:
    sized = type(request)()
    sized.CopyFrom(request)
    sized.page_size = size
    return sized


def _pages(point: Point, target: Target, request: Any, *, between: Callable[[], object] = lambda: None) -> list[str]:
    """What is listed, page by page. `between` the first few pages something may happen."""
    rpc, keys = point.rpc, list[str]()
    for number in range(_MOST_PAGES):
        answer = target.call(rpc, request, place=point.place)
        reply = answer.must_be_ok()
        items = getattr(reply, rpc.listed)
        answer.must(not request.page_size or len(items) <= request.page_size, "a page is no larger than asked")
        for item in items:
            _must_be_what_was_asked(answer, item)
        keys += [_key(rpc, item) for item in items]
        if not reply.next_page_token:
            return keys
        answer.must(reply.next_page_token != request.page_token, "a page must lead on to another")
        request.page_token = reply.next_page_token
        if number < _MEANWHILE:
            between()
    raise Broken(f"{rpc.full_name}: the list doesn't end after {_MOST_PAGES} pages")


def _must_be_what_was_asked(answer: Answer, item: Any) -> None:
    """What the request and an item both have, the item has as it was asked for: a state, say, or a profile's id."""
    if isinstance(item, Message):
        for field, value in answer.request.ListFields():
            if field.name in item.DESCRIPTOR.fields_by_name:
                same = getattr(item, field.name) == value
                answer.must(same, f"must list only what has the {field.name} that was asked for")


def _key(rpc: Rpc, item: Any) -> str:
    """What an item is known by, whatever else changes in it: the id that is named as its type is, or all of it."""
    if not isinstance(item, Message):
        return str(item)
    if isinstance(item, personal_data_service_pb2.PersonalRecord):
        told = json.loads(item.json)
        return f"{item.kind} {[told[name] for name in sorted(told) if name.endswith('Id')] or item.json}"
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", item.DESCRIPTOR.name).lower()
    for field in (f"{name}_id", "send_id"):
        if field in item.DESCRIPTOR.fields_by_name:
            return str(getattr(item, field))
    return item.SerializeToString(deterministic=True).hex()
