"""Leaving nothing behind: the suite's workspaces are deleted everywhere, until nothing comes any more."""

from __future__ import annotations

from camino.testing.contract.target import Target
from camino.testing.rpcs import rpcs

_SERVICE = "camino.ops.v1.WorkspaceService"
_ORDER = ("orchestrator", "channels", "segment", "profile")
"""From who decides to who tells of people: so that little comes after what is gone already."""
_ROUNDS = 20
_CALL_S = 60.0


def clear(target: Target) -> list[str]:
    """Delete every workspace that was handed out. Returns those that something may be left of, and why."""
    if not target.places(_SERVICE):
        return [f"{workspace}: no {_SERVICE} is served" for workspace in target.workspaces]
    for workspace in target.workspaces:
        _delete(target, workspace)
    # What was under way comes now, and is deleted as well.
    target.rest()
    left = {workspace: forget(target, workspace) for workspace in target.workspaces}
    return [f"{workspace}: {why}" for workspace, why in left.items() if why]


def forget(target: Target, workspace_id: str) -> str:
    """Delete a workspace everywhere, until nothing is deleted any more. Returns why something may be left, if so."""
    for _ in range(_ROUNDS):
        deleted, refusal = _delete(target, workspace_id)
        if refusal or not deleted:
            return refusal
        target.pass_time()
    return "there is always more"


def _delete(target: Target, workspace_id: str) -> tuple[int, str]:
    """How much was deleted; and why not, where it wasn't."""
    [rpc] = [rpc for rpc in rpcs() if (rpc.service, rpc.method) == (_SERVICE, "DeleteWorkspace")]
    deleted = 0
    for place in _places(target):
        answer = target.call(rpc, rpc.request(workspace_id=workspace_id), place=place, timeout_s=_CALL_S)
        if not answer.ok:
            return deleted, answer.message or answer.status
        deleted += answer.reply.deleted_documents + answer.reply.deleted_facts
    return deleted, ""


def _places(target: Target) -> list[int]:
    return sorted(range(len(target.places(_SERVICE))), key=lambda place: _rank(target, place))


def _rank(target: Target, place: int) -> int:
    address = target.places(_SERVICE)[place]
    served = [service for service in target.services if address in target.places(service)]
    ranks = [rank for rank, name in enumerate(_ORDER) if any(s.startswith(f"camino.{name}.") for s in served)]
    return min(ranks, default=len(_ORDER))
