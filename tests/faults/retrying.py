"""Calls as a client makes them while services die: the same request again while the answer is that they're away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

Reply = TypeVar("Reply")
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def retried(call: Callable[[], Awaitable[Reply]], attempts: int = 100) -> Reply:
    for _ in range(attempts - 1):
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in _AWAY:
                raise
            await asyncio.sleep(0.1)
    return await call()
