"""What isn't there, and what isn't current any more."""

from __future__ import annotations

from functools import partial
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Answer, Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.examples import example
from camino.testing.contract.replies import resource, texts
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target
from camino.testing.rpcs import Rpc

_AT_ONCE = 6


def cases(point: Point) -> Cases:
    yield Case(str(point), "finds nothing in an empty workspace", partial(finds_nothing, point))
    if point.rpc.read_only and point.rpc.has("workspace_id"):
        yield Case(str(point), "keeps to its workspace", partial(keeps_to_its_workspace, point))
    if point.rpc.has("etag"):
        yield Case(str(point), "refuses a stale etag", partial(refuses_a_stale_etag, point))
        yield Case(str(point), "lets one of many through", partial(lets_one_through, point))


def finds_nothing(point: Point, target: Target) -> None:
    """What names something that isn't there is NOT_FOUND and says what it was that was asked for; what lists or counts
    finds nothing."""
    empty = Stage(target, point.place)
    _must_find_nothing(point, target, empty.unprepared(point.rpc), empty.workspace_id)


def keeps_to_its_workspace(point: Point, target: Target) -> None:
    """What is in one workspace isn't in another, also for who knows its ids."""
    full, empty = Stage(target, point.place), target.workspace()
    request = full.request(point.rpc)
    target.call(point.rpc, request, place=point.place).must_be_ok()
    request.workspace_id = empty
    answer = _must_find_nothing(point, target, request, empty)
    told = {full.workspace_id} & set(texts(answer.reply)) if answer.ok else set()
    answer.must(not told, "must tell nothing of another workspace")


def _must_find_nothing(point: Point, target: Target, request: Any, workspace_id: str) -> Answer:
    rpc = point.rpc
    answer = target.call(rpc, request, place=point.place)
    if reason_pb2.REASON_NOT_FOUND in rpc.reasons:
        answer.must_fail("NOT_FOUND", reason_pb2.REASON_NOT_FOUND)
        answer.must(bool(answer.metadata.get("resource")), "NOT_FOUND must say in its metadata which resource")
        named = answer.metadata.get("name", "")
        answer.must(named.partition("@")[0] in set(texts(request)), "the name in its metadata must be one asked for")
        return answer
    answer.must_be_sound()
    if answer.ok and rpc.read_only and rpc.has("workspace_id"):
        items = [item for field, items in answer.reply.ListFields() if field.is_repeated for item in items]
        answer.must(not any(_counts(item) for item in items), "there is nothing to find in an empty workspace")
    return answer


def _counts(item: Any) -> bool:
    """Whether an item tells of something: anything does but a count of none."""
    return getattr(item, "count", 1) != 0


def refuses_a_stale_etag(point: Point, target: Target) -> None:
    """Only the current etag lets a change through (AIP-154), a refused one has changed nothing, and the change that was
    let through may be sent again, as who didn't get the reply will."""
    rpc, stage = point.rpc, Stage(target, point.place)
    request = stage.request(rpc)
    premature = _copy(request)
    premature.etag = "none-yet"
    target.call(rpc, premature, place=point.place).must_fail("ABORTED", reason_pb2.REASON_ETAG_MISMATCH)
    first = target.call(rpc, request, place=point.place).must_be_ok()
    etag, before = _etag(first), target.state()
    changed = _changed(rpc, request)
    changed.etag = f"{etag[:-1]}~"
    answer = target.call(rpc, changed, place=point.place)
    answer.must_fail("ABORTED", reason_pb2.REASON_ETAG_MISMATCH)
    answer.must(answer.metadata.get("current_etag") == etag, f"must say in its metadata that current_etag is {etag}")
    answer.must(target.state() == before, "a refused change must change nothing")
    changed.etag = etag
    let_through = target.call(rpc, changed, place=point.place)
    let_through.must(_etag(let_through.must_be_ok()) != etag, "a change must have an etag of its own")
    version = getattr(resource(first), "version", None)
    let_through.must(
        version is None or resource(let_through.reply).version == version + 1, "a change must be the next version"
    )
    before = target.state()
    again = target.call(rpc, changed, place=point.place)
    again.must(_etag(again.must_be_ok()) == _etag(let_through.reply), "sent again, it must be answered like before")
    again.must(target.state() == before, "sent again, it must change nothing")


def lets_one_through(point: Point, target: Target) -> None:
    """Of several changes at once, made upon the same state, one holds, and the others learn that it changed."""
    rpc, stage = point.rpc, Stage(target, point.place)
    request = stage.request(rpc)
    etag = _etag(target.call(rpc, request, place=point.place).must_be_ok())
    calls = []
    for number in range(_AT_ONCE):
        changed = _changed(rpc, request, f"-{number}")
        changed.etag = etag
        calls.append(target.start(rpc, changed, place=point.place))
    answers = [call.answer() for call in calls]
    for answer in answers:
        answer.must_be_sound()
        answer.must(answer.ok or answer.status == "ABORTED", "must be taken, or learn that others were")
    taken = sum(answer.ok for answer in answers)
    if taken != 1:
        raise Broken(f"{rpc.full_name}: of {_AT_ONCE} changes upon one etag at once, {taken} were taken")


def _changed(rpc: Rpc, request: Any, more: str = "") -> Any:
    """Another definition than the example's."""
    changed = _copy(request)
    for path, value in example(rpc.full_name).change.items():
        _set(changed, path.split("."), value + more)
    if changed == request:
        raise Broken(f"{rpc.full_name}: its example must say what to `change` to have another definition")
    return changed


def _set(message: Any, path: list[str], value: str) -> None:
    """Set the field at a path; in lists, that of the first item."""
    name, *rest = path
    if not rest:
        setattr(message, name, value)
        return
    inner = getattr(message, name)
    _set(inner[0] if message.DESCRIPTOR.fields_by_name[name].is_repeated else inner, rest, value)


def _etag(reply: Any) -> str:
    [etag] = [value.etag for field, value in reply.ListFields() if field.message_type and hasattr(value, "etag")]
    return str(etag)


def _copy(request: Any) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy
