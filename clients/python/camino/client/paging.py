"""Everything that a method lists, page by page (AIP-158)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)


async def pages(
    method: Callable[[Request], Awaitable[Message]], request: Request, *, timeout_s: float | None = None
) -> AsyncIterator[Any]:
    """The items of all pages, in the method's order:
    `async for profile in pages(client.profiles.ListProfiles, request)`.

    Holds one page at a time, and asks for the next when that is used up; `request.page_size` says how large they are.
    The request's own page token says where to begin. `timeout_s` is the deadline of each page. Raises TypeError if the
    method doesn't list by pages, `CaminoError` if a page can't be had.
    """
    call: Any = method
    asked: Any = first_page(request)
    while True:
        reply = await call(asked, timeout=timeout_s)
        for item in page_items(reply):
            yield item
        if not reply.next_page_token:
            return
        asked.page_token = reply.next_page_token


def first_page(request: Request) -> Request:
    """A copy of the request, to be given the tokens of further pages. Raises TypeError if it takes none."""
    if "page_token" not in request.DESCRIPTOR.fields_by_name:
        raise TypeError(f"{request.DESCRIPTOR.full_name} asks for no pages: it has no page_token")
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


def page_items(reply: Message) -> Any:
    """What is on a page: its one repeated field."""
    [field] = [field.name for field in reply.DESCRIPTOR.fields if field.is_repeated]
    return getattr(reply, field)
