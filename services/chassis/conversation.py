"""The requests of one stream: read ahead, carried out side by side, answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")


async def converse(
    requests: AsyncIterator[Request],
    answer: Callable[[Request], Coroutine[Any, Any, Reply]],
    write: Callable[[Reply], Awaitable[None]],
    end: asyncio.Future[NoReturn],
    *,
    unanswered: int,
) -> None:
    """Answer each request until there are no more.

    At most `unanswered` requests are read whose answer isn't written yet, so that who reads slowly is read from slowly.
    Each is carried out in a task of its own, with a copy of the context that reading it has left.

    Raises what the first request that has no answer failed with, or what reading failed with, once all before are
    answered. When `end` fails, nothing more is read, what was read is answered, and then that is raised. However it
    ends, nothing goes on that was begun here.
    """
    room = asyncio.Semaphore(unanswered)
    begun: asyncio.Queue[asyncio.Task[Reply] | None] = asyncio.Queue()
    under_way = set[asyncio.Task[Reply]]()

    async def read() -> None:
        try:
            await room.acquire()
            async for request in requests:
                task = asyncio.create_task(answer(request))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                begun.put_nowait(task)
                await room.acquire()
        finally:
            begun.put_nowait(None)

    def read_no_more(_end: object) -> None:
        reading.cancel()

    reading = asyncio.create_task(read())
    end.add_done_callback(read_no_more)
    try:
        while (task := await begun.get()) is not None:
            await write(await task)
            room.release()
        if reading.cancelled():
            end.result()
        await reading
    finally:
        end.remove_done_callback(read_no_more)
        left = (reading, *under_way)
        for task_ in left:
            task_.cancel()
        await asyncio.gather(*left, return_exceptions=True)
