"""The responses to one request, told as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NoReturn, TypeVar

Response = TypeVar("Response")


async def tell(
    responses: AsyncGenerator[Response, None],
    write: Callable[[Response], Awaitable[None]],
    end: asyncio.Future[NoReturn],
) -> None:
    """Write each response until there are no more; none is asked for before the one before it is written.

    Raises what a response failed with. When `end` fails, that is raised, whatever is waited for meanwhile. However it
    ends, the responses are closed by then, and nothing breaks that off.
    """
    going_on = True

    async def tell_all() -> None:
        nonlocal going_on
        try:
            async for response in responses:
                await write(response)
        finally:
            going_on = False
            await responses.aclose()

    telling = asyncio.create_task(tell_all())
    try:
        await asyncio.wait((telling, end), return_when=asyncio.FIRST_COMPLETED)
        broken_off = not telling.done()
    finally:
        if going_on:
            telling.cancel()
        # A write fails when the caller goes, shortly before that cancels us: then nobody asks for its failure.
        telling.add_done_callback(_look_at)
        await _over(telling)
    if broken_off:
        end.result()
    telling.result()


async def _over(task: asyncio.Task[None]) -> None:
    """Returns when it's over, and not before, however often it's us who are cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
