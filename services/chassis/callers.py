"""Who may call, and what they may do: a token says who, scopes say what, workspaces say where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from services.chassis.errors import PermissionDenied, Unauthenticated


@dataclass(frozen=True, slots=True)
class Allowed:
    """Names that are allowed, as they were written: exact ones, all that begin so (`profiles.*`, `contract-*`), or all
    (`*`)."""

    written: tuple[str, ...]
    _exact: frozenset[str]
    _beginnings: tuple[str, ...]

    @classmethod
    def of(cls, written: Iterable[str]) -> Allowed:
        names = tuple(written)
        return cls(
            names,
            frozenset(name for name in names if not name.endswith("*")),
            tuple(name.removesuffix("*") for name in names if name.endswith("*")),
        )

    @property
    def everything(self) -> bool:
        return "" in self._beginnings

    def __contains__(self, name: str) -> bool:
        return name in self._exact or name.startswith(self._beginnings)

    def __str__(self) -> str:
        return ", ".join(self.written) or "none"


@dataclass(frozen=True, slots=True)
class Caller:
    """A program that calls, by the name that the logs tell."""

    name: str
    scopes: Allowed
    workspaces: Allowed

    def must_have(self, scope: str) -> None:
        """Raises `PermissionDenied` without the scope."""
        if scope not in self.scopes:
            raise PermissionDenied(
                f"needs scope {scope}; caller {self.name} has {self.scopes}: whoever keeps the list of callers can add"
                " it",
                scope=scope,
            )

    def must_reach(self, workspace_id: str) -> None:
        """Raises `PermissionDenied` for a workspace of others."""
        if workspace_id not in self.workspaces:
            raise PermissionDenied(
                f"workspace {workspace_id!r} is not open to caller {self.name}, who has {self.workspaces}: whoever"
                " keeps the list of callers can add it",
                workspace_id=workspace_id,
            )

    def must_reach_everything(self) -> None:
        """For what belongs to no workspace, and may hold something of any. Raises `PermissionDenied` unless all
        workspaces are open to the caller, those to come included."""
        if not self.workspaces.everything:
            raise PermissionDenied(
                f"this concerns all workspaces and needs '*' among the caller's; caller {self.name} has"
                f" {self.workspaces}",
                workspace_id="*",
            )


class KnowsCallers(Protocol):
    def find(self, token: str) -> Caller | None:
        """Whose token it is, if anybody's."""
        ...


class Callers:
    """The callers by the SHA-256 of their tokens. A caller may have several tokens: the old and the new one while they
    are being replaced.

    A plain digest is enough to keep a token by: unlike a password it's 256 random bits, which nobody finds by trying,
    so there's nothing for a salt or a slow hash to make harder. And looking up a digest can't be timed to any use: to
    steer it towards one that's known takes a preimage.
    """

    def __init__(self, by_digest: Mapping[bytes, Caller]) -> None:
        self._by_digest = by_digest

    def __len__(self) -> int:
        """How many tokens are known."""
        return len(self._by_digest)

    def find(self, token: str) -> Caller | None:
        return self._by_digest.get(digest(token))


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return sha256(token.encode()).digest()


def identify(callers: KnowsCallers, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
    """Who makes a call, by its metadata. Raises `Unauthenticated`."""
    caller = callers.find(_bearer(metadata))
    if caller is None:
        raise Unauthenticated("nobody has this token: it's mistyped, or was taken back; send a valid one")
    return caller


def _bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The token of RFC 6750, section 2.1; its scheme's name may be written in any case (RFC 9110, section 11.1)."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        raise Unauthenticated("the call has no token: send the metadata `authorization: Bearer <token>`")
    if len(values) == 1 and isinstance(values[0], str):
        scheme, _, token = values[0].partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer" and token and " " not in token:
            return token
    raise Unauthenticated("the metadata `authorization` is malformed: send `authorization: Bearer <token>`, once")
