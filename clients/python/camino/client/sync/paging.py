"""Everything that a method lists, page by page, for the blocking flavour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from camino.client.paging import Request, first_page, page_items
from google.protobuf.message import Message


def pages(method: Callable[[Request], Message], request: Request, *, timeout_s: float | None = None) -> Iterator[Any]:
    """As `camino.client.pages`, with a plain `for`."""
    call: Any = method
    asked: Any = first_page(request)
    while True:
        reply = call(asked, timeout=timeout_s)
        yield from page_items(reply)
        if not reply.next_page_token:
            return
        asked.page_token = reply.next_page_token
