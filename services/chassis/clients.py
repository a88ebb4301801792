"""How one service calls another: as any client of Camino does, and with what it gets in return for failures that
pass."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import grpc
from camino.client import channel
from camino.client.connection import TIMEOUT_S
from camino.client.tls import TlsFiles
from camino.client.tokens import TokenFile

from services.chassis.errors import Unavailable

Reply = TypeVar("Reply")

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


def open_channel(
    target: str, *, timeout_s: float = TIMEOUT_S, token_file: Path | None = None, tls: TlsFiles | None = None
) -> grpc.aio.Channel:
    """A channel to a service, as whom the token file says. Raises OSError or ValueError if there's no token in it."""
    token = TokenFile(token_file) if token_file else None
    return channel.open_channel(target, credentials=tls, token=token, timeout_s=timeout_s)


async def ask(call: Awaitable[Reply]) -> Reply:
    """Await a call of another service. Raises `Unavailable` for failures that pass, and lets the others through."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() in _PASSING:
            raise Unavailable(f"another service: {error.code().name}: {error.details()}") from error
        raise
