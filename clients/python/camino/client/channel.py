"""A channel of the asyncio flavour: retries, round robin, a deadline and the token on every call, `CaminoError`s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from camino.client.connection import TIMEOUT_S
from camino.client.errors import from_rpc_error
from camino.client.terms import CHANNEL_OPTIONS, Terms
from camino.client.tokens import Token


def open_channel(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    token: Token | None = None,
    timeout_s: float = TIMEOUT_S,
) -> grpc.aio.Channel:
    """A channel to a service. A DNS name of several addresses is balanced over all of them.

    Calls without a timeout of their own get `timeout_s`. UNAVAILABLE is retried three times where the schema says that
    a call may be repeated. Failed unary calls raise `CaminoError`.
    """
    calls = (_Calls(Terms(timeout_s, token)),)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS, interceptors=calls)
    return grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS, interceptors=calls)


class _Calls(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        call = await continuation(
            grpc.aio.ClientCallDetails(
                details.method,
                self._terms.timeout(details.timeout),
                grpc.aio.Metadata(*self._terms.metadata(details.metadata)),
                details.credentials,
                details.wait_for_ready,
            ),
            request,
        )
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        return call
