"""Lists by pages (AIP-158): in one order, each page after the last item of the one before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, TypeVar

from camino.errors.v1 import reason_pb2
from camino.testing.fake.refusal import Refusal, invalid_field

T = TypeVar("T")

Place = tuple[int, str]
"""Where an item is in its list's order. No two items of a list have the same place."""


def page(
    request: Any, items: Iterable[tuple[Place, T]], *, newest_first: bool = False, size: int = 100
) -> tuple[list[T], str]:
    """The items of the page that is asked for, and the token of the next page.

    Tokens of other lists are refused, also of the same method for another workspace or profile. `size` is how many
    there are on a page unless the request says it. Raises `Refusal` (INVALID_PAGE_TOKEN).
    """
    order = _list_of(request)
    after = _place(order, request.page_token) if request.page_token else None
    places = dict(items)
    rest = [place for place in places if after is None or (place < after if newest_first else place > after)]
    chosen = sorted(rest, reverse=newest_first)[: getattr(request, "page_size", 0) or size]
    token = _token(order, chosen[-1]) if len(chosen) < len(rest) else ""
    return [places[place] for place in chosen], token


def _list_of(request: Any) -> str:
    """What is listed, by all that a request says but for the page."""
    listed = type(request)()
    listed.CopyFrom(request)
    for field in {"page_size", "page_token"} & set(listed.DESCRIPTOR.fields_by_name):
        listed.ClearField(field)
    said = sha256(listed.SerializeToString(deterministic=True)).hexdigest()[:16]
    return f"{request.DESCRIPTOR.full_name} {said}"


def _token(order: str, place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([order, *place]).encode()).decode().rstrip("=")


def _place(order: str, token: str) -> Place:
    try:
        raw = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        said = json.loads(raw)
    except ValueError:
        raise _foreign() from None
    if not isinstance(said, list) or [type(part) for part in said] != [str, int, str] or said[0] != order:
        raise _foreign()
    return said[1], said[2]


def _foreign() -> Refusal:
    message = "not a token from this list; start again without one"
    return invalid_field("page_token", message, reason_pb2.REASON_INVALID_PAGE_TOKEN)
