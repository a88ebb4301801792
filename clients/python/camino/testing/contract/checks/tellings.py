"""What is told as it comes: everything there is, then what happens, and on from any cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from camino.errors.v1 import reason_pb2
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.examples import example
from camino.testing.contract.replies import texts
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import OutOfReach, Target
from camino.testing.contract.tellings import Telling
from google.protobuf.message import Message

_MANY = 3
_LONG_S = 60.0
"""More than anything here is waited for."""


def cases(point: Point) -> Cases:
    if point.rpc.telling:
        yield Case(str(point), "tells what comes", partial(tells_what_comes, point))
        yield Case(str(point), "goes on from its cursor", partial(goes_on, point))
        yield Case(str(point), "refuses a foreign cursor", partial(refuses_a_foreign_cursor, point))


def tells_what_comes(point: Point, target: Target) -> None:
    """What happens while one listens is told, and who begins to listen later is told of it, too."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    with _listening(point, target, request) as telling:
        while not telling.next().must_be_ok().cursor:
            pass
        happened = _happen(point, stage, range(_MANY))
        _must_tell(point, target, telling, happened)
    answer = target.call(point.rpc, request, place=point.place)
    answer.must(happened <= set(texts(answer.must_be_ok())), f"must tell of {sorted(happened)} from the beginning")


def goes_on(point: Point, target: Target) -> None:
    """From a cursor on all that came since is told, as often as one asks, and nothing of the beginning."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    answer = target.call(point.rpc, request, place=point.place)
    request.cursor = answer.must_be_ok().cursor
    answer.must(any(field.name != "cursor" for field, _ in answer.reply.ListFields()), "must tell what there is")
    happened = _happen(point, stage, range(_MANY))
    for _ in range(2):
        with _listening(point, target, request) as telling:
            newest = _must_tell(point, target, telling, happened)
    request.cursor = newest
    with _listening(point, target, request) as telling:
        _must_tell(point, target, telling, _happen(point, stage, range(_MANY, 2 * _MANY)))


def refuses_a_foreign_cursor(point: Point, target: Target) -> None:
    """A cursor that it didn't give for this question is refused by name: also one of another workspace, and one of
    another choice."""
    rpc, stage = point.rpc, Stage(target, point.place)
    request, elsewhere = stage.request(rpc), Stage(target, point.place).request(rpc)
    others = [elsewhere, rpc.request(workspace_id=request.workspace_id)]
    given = [target.call(rpc, other, place=point.place).must_be_ok().cursor for other in others]
    for cursor in ("foreign", "MA==", "~", "é", *given):
        request.cursor = cursor
        answer = target.call(rpc, request, place=point.place)
        answer.must_fail("INVALID_ARGUMENT", reason_pb2.REASON_INVALID_FIELD)
        answer.must([field for field, _ in answer.violations] == ["cursor"], "must name cursor")


@contextmanager
def _listening(point: Point, target: Target, request: Message) -> Iterator[Telling]:
    telling = target.telling(point.rpc, request, place=point.place, timeout_s=_LONG_S)
    try:
        yield telling
    finally:
        telling.cancel()


def _happen(point: Point, stage: Stage, numbers: Iterable[int]) -> set[str]:
    """Let something happen that is to be told. The ids it's told by."""
    found = example(point.rpc.full_name).many
    if not found:
        raise OutOfReach(f"{point.rpc.full_name} has no way to have many items")
    replies = [stage.varied(many.call, many.vary, number).reply for many in found for number in numbers]
    return {text for reply in replies for text in texts(reply)}


def _must_tell(point: Point, target: Target, telling: Telling, happened: set[str]) -> str:
    """All of it is told, each time with a cursor. The newest cursor."""
    told = set[str]()
    cursor = ""

    def come() -> bool:
        nonlocal cursor
        while answer := telling.arrived():
            cursor = answer.must_be_ok().cursor
            answer.must(bool(cursor), "after the first cursor each response must have one")
            told.update(texts(answer.reply))
        return happened <= told

    target.eventually(come, f"{point.rpc.full_name} tells of {sorted(happened)}")
    return cursor
