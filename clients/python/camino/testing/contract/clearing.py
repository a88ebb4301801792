"""Leaving nothing behind: the suite's workspaces are deleted everywhere, until nothing comes any more."""

from __future__ import annotations

from camino.testing.contract.rpcs import rpcs
from camino.testing.contract.target import Target

_SERVICE = "camino.ops.v1.WorkspaceService"
_ORDER = ("orchestrator", "channels", "segment", "profile")
"""From who decides to who tells of people: so that little comes after what is gone already."""
_ROUNDS = 20
_CALL_S = 60.0


def clear(target: Target) -> list[str]:
    """Delete every workspace that was handed out. Returns those that something may be left of, and why."""
    [rpc] = [rpc for rpc in rpcs() if rpc.service == _SERVICE and rpc.method == "DeleteWorkspace"]
    places = sorted(range(len(target.places(_SERVICE))), key=lambda place: _rank(target, place))
    if not places:
        return [f"{workspace}: no {_SERVICE} is served" for workspace in target.workspaces]
    left = list(target.workspaces)
    why: dict[str, str] = {}
    for _ in range(_ROUNDS):
        deleted = dict.fromkeys(left, 0)
        for workspace in left:
            for place in places:
                answer = target.call(rpc, rpc.request(workspace_id=workspace), place=place, timeout_s=_CALL_S)
                if answer.ok:
                    deleted[workspace] += answer.reply.deleted_documents + answer.reply.deleted_facts
                else:
                    why[workspace] = answer.message
                    deleted[workspace] += 1
        left = [workspace for workspace in left if deleted[workspace]]
        if not left:
            return []
        target.pass_time()
    return [f"{workspace}: {why.get(workspace, 'there is always more')}" for workspace in left]


def _rank(target: Target, place: int) -> int:
    address = target.places(_SERVICE)[place]
    served = [service for service in target.services if address in target.places(service)]
    ranks = [rank for rank, name in enumerate(_ORDER) if any(s.startswith(f"camino.{name}.") for s in served)]
    return min(ranks, default=len(_ORDER))
