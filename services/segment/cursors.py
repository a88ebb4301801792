"""Cursors of those who follow memberships: how far they've been told, in words that only the same question takes."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from services.chassis.errors import InvalidArgument
from services.chassis.tail import Place

_SEAL = 16
_PLACE = struct.Struct(">qqqq")


@dataclass(frozen=True, slots=True)
class Told:
    """How far somebody has been told."""

    place: Place
    """All changes up to here, or what is in the members."""
    segment_id: str = ""
    """The members of the segments before this one; empty: all."""
    after: str = ""
    """And those of this one up to here: the store's token of the next page."""


@dataclass(frozen=True, slots=True)
class Cursors:
    """Of one question: which segments of which workspace; none for all of them."""

    workspace_id: str
    segment_ids: frozenset[str]

    @classmethod
    def of(cls, workspace_id: str, segment_ids: Iterable[str]) -> Cursors:
        return cls(workspace_id, frozenset(segment_ids))

    def of_told(self, told: Told) -> str:
        packed = _PLACE.pack(*told.place) + f"{told.segment_id} {told.after}".encode()
        return base64.urlsafe_b64encode(self._seal(packed) + packed).decode()

    def told(self, cursor: str) -> Told:
        """What a cursor says. Raises `InvalidArgument` for what isn't one, or one of another question."""
        try:
            raw = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        seal, packed = raw[:_SEAL], raw[_SEAL:]
        if len(packed) <= _PLACE.size or seal != self._seal(packed):
            raise InvalidArgument.at("cursor", "not a cursor of this question; begin anew without one")
        segment_id, _, after = packed[_PLACE.size :].decode(errors="replace").partition(" ")
        return Told(Place(*_PLACE.unpack_from(packed)), segment_id, after)

    def _seal(self, packed: bytes) -> bytes:
        """Against mistakes: it's no secret that would keep anybody from making one."""
        question = repr((self.workspace_id, sorted(self.segment_ids)))
        return sha256(question.encode() + packed).digest()[:_SEAL]
