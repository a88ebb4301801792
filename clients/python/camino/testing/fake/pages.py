"""Lists by pages (AIP-158): in one order, each page after the last item of the one before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from camino.errors.v1 import reason_pb2
from camino.testing.fake.refusal import Refusal, invalid_field

T = TypeVar("T")

Place = tuple[int, str]
"""Where an item is in its list's order. No two items of a list have the same place."""


def page(
    request: Any, order: str, items: Iterable[tuple[Place, T]], *, newest_first: bool = False, size: int = 100
) -> tuple[list[T], str]:
    """The items of the page that is asked for, and the token of the next page.

    `order` names the list: tokens of others are refused. `size` is how many there are on a page unless the request
    says it. Raises `Refusal` (INVALID_PAGE_TOKEN).
    """
    after = _place(order, request.page_token) if request.page_token else None
    places = dict(items)
    rest = [place for place in places if after is None or (place < after if newest_first else place > after)]
    chosen = sorted(rest, reverse=newest_first)[: request.page_size or size]
    token = _token(order, chosen[-1]) if len(chosen) < len(rest) else ""
    return [places[place] for place in chosen], token


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
