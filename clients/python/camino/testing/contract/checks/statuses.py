"""What isn't there, and what isn't current any more."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.examples import example
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target


def cases(point: Point) -> Cases:
    yield Case(str(point), "finds nothing in an empty workspace", partial(finds_nothing, point))
    if point.rpc.has("etag"):
        yield Case(str(point), "refuses a stale etag", partial(refuses_a_stale_etag, point))


def finds_nothing(point: Point, target: Target) -> None:
    """What names something that isn't there is NOT_FOUND and says what; and what is in one workspace isn't in
    another."""
    rpc = point.rpc
    needs = example(rpc.full_name).needs
    if rpc.has("workspace_id") and (not needs or needs in target.needs):
        Stage(target, point.place).carry_out(rpc)
    empty = Stage(target, point.place)
    answer = target.call(rpc, empty.unprepared(rpc), place=point.place)
    if reason_pb2.REASON_NOT_FOUND not in rpc.reasons:
        answer.must_be_sound()
        return
    answer.must_fail("NOT_FOUND", reason_pb2.REASON_NOT_FOUND)
    for key in ("resource", "name"):
        answer.must(bool(answer.metadata.get(key)), f"NOT_FOUND must say in its metadata which {key}")


def refuses_a_stale_etag(point: Point, target: Target) -> None:
    """Only the current etag lets a change through (AIP-154), a refused one has changed nothing, and the change that was
    let through may be sent again, as who didn't get the reply will."""
    rpc, stage = point.rpc, Stage(target, point.place)
    request = stage.request(rpc)
    etag = _etag(target.call(rpc, request, place=point.place).must_be_ok())
    changed = _copy(request)
    for path, value in example(rpc.full_name).change.items():
        *parents, last = path.split(".")
        setattr(reduce(getattr, parents, changed), last, value)
    if changed == request:
        raise Broken(f"{rpc.full_name}: its example must say what to `change` to have another definition")
    before = target.state()
    changed.etag = f"{etag[:-1]}~"
    answer = target.call(rpc, changed, place=point.place)
    answer.must_fail("ABORTED", reason_pb2.REASON_ETAG_MISMATCH)
    answer.must(
        answer.metadata.get("current_etag") == etag, f"must say in its metadata that {etag} is the current_etag"
    )
    answer.must(target.state() == before, "a refused change must change nothing")
    changed.etag = etag
    let_through = target.call(rpc, changed, place=point.place)
    let_through.must(_etag(let_through.must_be_ok()) != etag, "a change must have an etag of its own")
    before = target.state()
    again = target.call(rpc, changed, place=point.place)
    again.must(_etag(again.must_be_ok()) == _etag(let_through.reply), "sent again, it must be answered like before")
    again.must(target.state() == before, "sent again, it must change nothing")


def _etag(reply: Any) -> str:
    [etag] = [value.etag for field, value in reply.ListFields() if field.message_type and hasattr(value, "etag")]
    return str(etag)


def _copy(request: Any) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy
