"""Who may call, when tokens are asked for: the token says who it is, and that who may do what, where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from camino.errors.v1 import reason_pb2
from camino.testing.fake.refusal import Refusal
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message

_EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone with a token. Scopes are exact, `profiles.*` or `*`; workspaces are exact, `test-*` or `*`.

    What has no workspace, such as dead letters, takes the workspace `*`.
    """

    name: str
    token: str
    scopes: tuple[str, ...] = ("*",)
    workspaces: tuple[str, ...] = ("*",)

    def check_scope(self, rpc: Rpc) -> None:
        """Raise `Refusal` (PERMISSION_DENIED) unless the caller has the method's scope."""
        if not _matches(rpc.scope, self.scopes):
            message = (
                f"{rpc.method} needs the scope {rpc.scope}; caller {self.name} has {', '.join(self.scopes) or 'none'}"
            )
            raise Refusal(reason_pb2.REASON_PERMISSION_DENIED, message, scope=rpc.scope)

    def check_workspace(self, request: Message) -> None:
        """Raise `Refusal` (PERMISSION_DENIED) unless the request's workspace is one of the caller's."""
        workspace_id = getattr(request, "workspace_id", _EVERYWHERE)
        if not _matches(workspace_id, self.workspaces):
            message = f"caller {self.name} may not touch the workspace {workspace_id!r}"
            raise Refusal(reason_pb2.REASON_PERMISSION_DENIED, message, workspace_id=workspace_id)


class Callers:
    """The callers that are known; with none, anyone may do anything."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._by_token = {caller.token: caller for caller in callers}

    def caller(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller | None:
        """Who calls, by `authorization: Bearer <token>` (RFC 6750); None when nobody asks.

        Raises `Refusal` (UNAUTHENTICATED).
        """
        if not self._by_token:
            return None
        given = [str(value) for key, value in metadata if key == "authorization"]
        if len(given) != 1:
            message = "the call has no token: send the metadata `authorization: Bearer <token>`, once"
            raise Refusal(reason_pb2.REASON_UNAUTHENTICATED, message)
        scheme, _, token = given[0].partition(" ")
        found = self._by_token.get(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            message = "nobody has this token; send a valid one, as in `authorization: Bearer <token>`"
            raise Refusal(reason_pb2.REASON_UNAUTHENTICATED, message)
        return found


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)
