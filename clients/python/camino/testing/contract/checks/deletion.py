"""Workspaces that are deleted: nothing is left of them, and those that are protected stay."""

from __future__ import annotations

import secrets
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Broken
from camino.testing.contract.cases import Case, Cases
from camino.testing.contract.clearing import forget
from camino.testing.contract.examples import example
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import OutOfReach, Target
from camino.testing.rpcs import Rpc, rpcs

_METHOD = "camino.ops.v1.WorkspaceService.DeleteWorkspace"
_SUBJECT = "WorkspaceService.DeleteWorkspace"


def cases() -> Cases:
    yield Case(_SUBJECT, "leaves nothing", leaves_nothing)
    yield Case(_SUBJECT, "protects the others", protects_the_others)


def leaves_nothing(target: Target) -> None:
    """After it, nothing that was in the workspace is found by any method."""
    stage = Stage(target)
    reads = [rpc for rpc in rpcs() if rpc.read_only and rpc.has("workspace_id") and not example(rpc.full_name).needs]
    asked: list[tuple[Rpc, Any]] = []
    for rpc in reads:
        asked.append((rpc, stage.request(rpc)))
        stage.carry_out(rpc)
    if why := forget(target, stage.workspace_id):
        raise Broken(f"{_METHOD}: {why}")
    for rpc, request in asked:
        answer = target.call(rpc, request)
        if reason_pb2.REASON_NOT_FOUND in rpc.reasons:
            answer.must_fail("NOT_FOUND", reason_pb2.REASON_NOT_FOUND)
        else:
            items = [item for field, items in answer.must_be_ok().ListFields() if field.is_repeated for item in items]
            answer.must(all(getattr(item, "count", 1) == 0 for item in items), "nothing must be left to find")


def protects_the_others(target: Target) -> None:
    """A workspace whose name isn't that of a trial is not deleted. Of this one nobody has anything."""
    [rpc] = [rpc for rpc in rpcs() if rpc.full_name == _METHOD]
    answer = target.call(rpc, rpc.request(workspace_id=f"protected-{secrets.token_hex(6)}"))
    if answer.status == "PERMISSION_DENIED":
        raise OutOfReach("needs a token for all workspaces")
    answer.must_fail("FAILED_PRECONDITION", reason_pb2.REASON_WORKSPACE_PROTECTED)
