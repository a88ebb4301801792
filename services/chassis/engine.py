"""What the storage engines agree on, so that one contract has one meaning: ids, revisions, index values, cursors."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import bson
from bson.errors import BSONError

from services.chassis.documents import Schema, Value
from services.chassis.errors import InvalidPageToken

_VALUES = (str, int, float, bytes)
_LAST_CHARACTER = "\U0010ffff"


def distinct(ids: Sequence[str]) -> None:
    """Raises ValueError unless the ids of one put are distinct: else its outcome would depend on their order."""
    if len(set(ids)) != len(ids):
        raise ValueError("the ids of one call must be distinct")


def writable(ids: Iterable[str]) -> None:
    """Raises ValueError for an id that isn't text both engines can hold: UTF-8 without U+0000."""
    text = "".join(ids)
    if "\0" in text:
        raise ValueError("an id must not contain U+0000")
    text.encode()


def next_revision(rev: int) -> int:
    """A revision to replace `rev`, by a random step.

    Revisions only grow, and no two writes have the same: so a writer knows its own write when it sees it again, and a
    document that was deleted and made anew isn't taken for its old self. 2^31 writes of a document fit in 63 bits.
    """
    return rev + 1 + random.getrandbits(32)


def indexed(body: Mapping[str, Any], fields: Sequence[str]) -> list[Value | None]:
    """What a body has in indexed fields. Raises TypeError for what no index can hold, which includes NaN."""
    values = [body.get(field) for field in fields]
    for value in values:
        if value is not None and (not isinstance(value, _VALUES) or value != value):
            raise TypeError(f"an indexed field ({', '.join(fields)}) can't hold {value!r:.40}")
    return values


def successor(prefix: str) -> str | None:
    """The least text that is greater than all that begin with `prefix`; None if there is none.

    By code points, which is the order of UTF-8 bytes too. Surrogates are no characters, so they are stepped over.
    """
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return None
    code = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if 0xD800 <= code < 0xE000 else code)


@dataclass(frozen=True, slots=True)
class Range:
    """The part of an index that a query is about: its first fields are fixed, the next is bounded, the rest is free."""

    collection: str
    index: str
    fields: tuple[str, ...]
    equal: tuple[Value, ...]
    at_least: Value | None = None
    below: Value | None = None

    @classmethod
    def of(
        cls, schema: Schema, index: str, equal: tuple[Value, ...], at_least: Value | None, below: Value | None
    ) -> Range:
        """Raises ValueError when the schema has no such index, or it has too few fields for what is asked."""
        fields = next((declared.fields for declared in schema.indexes if declared.name == index), None)
        if fields is None:
            raise ValueError(f"{schema.name} declares no index {index!r}")
        if len(equal) + (at_least is not None or below is not None) > len(fields):
            raise ValueError(f"index {index!r} of {schema.name} has only the fields {', '.join(fields)}")
        return cls(schema.name, index, fields, equal, at_least, below)

    @property
    def free(self) -> tuple[str, ...]:
        """The fields that order the documents of this range; after them, their ids do."""
        return self.fields[len(self.equal) :]

    def token(self, body: Mapping[str, Any], id_: str) -> str:
        """A cursor that continues after a document."""
        return token(self._order, [*(body[field] for field in self.free), id_])

    def position(self, after: str) -> list[Value]:
        """The values of the free fields and the id that a cursor holds; none if it's empty. See `position`."""
        return position(self._order, after, len(self.free) + 1) if after else []

    @property
    def _order(self) -> str:
        return order(self.collection, self.index, *self.equal)


def order(*of: Value) -> str:
    """The name that an ordering has in cursors, by the collection and what is fixed in it: no other list takes them.

    A digest, since what is fixed may be long, and is nobody else's business.
    """
    return sha256(repr(of).encode()).hexdigest()[:16]


def token(order: str, values: Sequence[Value]) -> str:
    """An opaque, URL-safe cursor: a position in a named order of documents. It means the same to every engine."""
    return base64.urlsafe_b64encode(bson.encode({"o": order, "p": list(values)})).decode().rstrip("=")


def position(order: str, text: str, size: int) -> list[Value]:
    """The values of a cursor of this order, of which there are `size`. Raises `InvalidPageToken` if it isn't one."""
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        decoded = bson.decode(raw)
    except (ValueError, BSONError):
        raise InvalidPageToken from None
    values = decoded.get("p")
    if decoded.get("o") != order or not isinstance(values, list) or len(values) != size:
        raise InvalidPageToken
    if not isinstance(values[-1], str) or not all(isinstance(value, _VALUES) for value in values):
        raise InvalidPageToken
    return values


def id_token(order: str, id_: str) -> str:
    """A cursor of an order by nothing but ids."""
    return token(order, [id_])


def last_id(order: str, after: str) -> str | None:
    """The id that a cursor of an order by ids continues after; None if it's empty. Raises `InvalidPageToken`."""
    return str(position(order, after, 1)[0]) if after else None


def scan_token(collection: str, prefix: str, id_: str) -> str:
    """A cursor of a scan of what begins with `prefix`, to continue after an id, which needn't be a document's."""
    return id_token(order(collection, prefix), id_)


def room(limit: int) -> None:
    """Raises ValueError for a page without room: it could not make progress."""
    if limit < 1:
        raise ValueError("a page has room for at least one document")
