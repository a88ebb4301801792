"""Who may call: nobody without a token, nobody beyond their scopes and workspaces."""

from __future__ import annotations

from functools import partial
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Answer
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import OutOfReach, Target


def cases(point: Point) -> Cases:
    yield Case(str(point), "knows its callers", partial(knows_its_callers, point))
    yield Case(str(point), "needs its scope", partial(needs_its_scope, point))
    yield Case(str(point), "needs exactly its scope", partial(needs_exactly_its_scope, point))
    yield Case(str(point), "keeps workspaces apart", partial(keeps_workspaces_apart, point))


def knows_its_callers(point: Point, target: Target) -> None:
    """Without a token, or with one that nobody has, a call fails before anything of it is looked at."""
    if not target.tokens.full:
        raise OutOfReach("the suite was given no token: it's taken that the target asks for none")
    for token in ("", "nobody-has-this", f"{target.tokens.full}x", target.tokens.full[:-1]):
        for request in _requests(point, target):
            answer = _refused(point, target, request, token)
            answer.must_fail("UNAUTHENTICATED", reason_pb2.REASON_UNAUTHENTICATED)


def needs_its_scope(point: Point, target: Target) -> None:
    """Without the method's scope a call is refused, valid or not, and is told which scope that is."""
    if not target.tokens.without_scopes:
        raise OutOfReach("needs a token without scopes")
    for request in _requests(point, target):
        answer = _refused(point, target, request, target.tokens.without_scopes)
        answer.must_fail("PERMISSION_DENIED", reason_pb2.REASON_PERMISSION_DENIED)
        answer.must(answer.metadata.get("scope") == point.rpc.scope, "must say in its metadata which scope it takes")


def needs_exactly_its_scope(point: Point, target: Target) -> None:
    """All scopes but the method's own are not enough."""
    lacking = target.tokens.without_scope(point.rpc.scope)
    if not lacking:
        raise OutOfReach("needs a token for each scope that has all others")
    [request, _] = _requests(point, target)
    answer = _refused(point, target, request, lacking)
    answer.must_fail("PERMISSION_DENIED", reason_pb2.REASON_PERMISSION_DENIED)


def keeps_workspaces_apart(point: Point, target: Target) -> None:
    """A caller reaches only the workspaces that are theirs, and what belongs to none only with all of them."""
    if not target.tokens.elsewhere:
        raise OutOfReach("needs a token for another workspace")
    [request, _] = _requests(point, target)
    answer = _refused(point, target, request, target.tokens.elsewhere)
    answer.must_fail("PERMISSION_DENIED", reason_pb2.REASON_PERMISSION_DENIED)
    workspace_id = request.workspace_id if point.rpc.has("workspace_id") else "*"
    answer.must(
        answer.metadata.get("workspace_id") == workspace_id,
        f"its metadata must say that workspace_id is {workspace_id}",
    )


def _refused(point: Point, target: Target, request: Any, token: str) -> Answer:
    before, entered = target.state(), target.insight and target.insight.entered(point.rpc)
    answer = target.call(point.rpc, request, place=point.place, token=token)
    answer.must(not target.insight or target.insight.entered(point.rpc) == entered, "must not be let into the servicer")
    answer.must(target.state() == before, "a call that isn't allowed must change nothing")
    return answer


def _requests(point: Point, target: Target) -> list[Any]:
    """A request that would be taken, and an empty one, which mostly wouldn't be."""
    return [Stage(target, point.place, target.untouched).unprepared(point.rpc), point.rpc.request()]
