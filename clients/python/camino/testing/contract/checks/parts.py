"""What is read in parts: all of them are one whole, and no other token than its own is taken."""

from __future__ import annotations

import json
from functools import partial

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target

_MOST_PARTS = 1_000


def cases(point: Point) -> Cases:
    if point.rpc.parts:
        yield Case(str(point), "gives the whole in parts", partial(gives_the_whole, point))
        yield Case(str(point), "refuses a foreign page token", partial(refuses_a_foreign_token, point))


def gives_the_whole(point: Point, target: Target) -> None:
    """Its parts, one after the other, are one JSON document that names its workspace; none of them is empty."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    whole = b""
    for _ in range(_MOST_PARTS):
        answer = target.call(point.rpc, request, place=point.place)
        reply = answer.must_be_ok()
        answer.must(bool(reply.part), "a part must not be empty")
        whole += reply.part
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    try:
        document = json.loads(whole)
    except ValueError as error:
        raise Broken(f"{point.rpc.full_name}: its parts must be one JSON document: {error}") from None
    if stage.workspace_id not in json.dumps(document):
        raise Broken(f"{point.rpc.full_name}: the document must say whose workspace it's from")


def refuses_a_foreign_token(point: Point, target: Target) -> None:
    """A token that it didn't give is refused by name."""
    request = Stage(target, point.place).request(point.rpc)
    for token in ("foreign", "MA==", "~", "é"):
        request.page_token = token
        answer = target.call(point.rpc, request, place=point.place)
        answer.must_fail("INVALID_ARGUMENT", reason_pb2.REASON_INVALID_PAGE_TOKEN)
        answer.must([field for field, _ in answer.violations] == ["page_token"], "must name page_token")
