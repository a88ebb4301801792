"""A channel of the asyncio flavour: retries, round robin, a deadline and the token on every call, `CaminoError`s."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import grpc
from camino.client.connection import TIMEOUT_S
from camino.client.errors import from_rpc_error
from camino.client.renewal import Renewal, RenewedMethod
from camino.client.terms import CHANNEL_OPTIONS, Terms
from camino.client.tls import Credentials, TlsFiles
from camino.client.tokens import Token

_LONGEST_CALL_S = 60.0
"""After this, Camino gives up on a call by itself."""


def open_channel(
    target: str,
    *,
    credentials: Credentials | None = None,
    token: Token | None = None,
    timeout_s: float = TIMEOUT_S,
) -> grpc.aio.Channel:
    """A channel to a service. A DNS name of several addresses is balanced over all of them.

    Calls without a timeout of their own get `timeout_s`; streams last as long as they're used. UNAVAILABLE is retried
    three times where the schema says that a call may be repeated. Failed unary calls raise `CaminoError`, streams
    grpc's own error. Without credentials it's plaintext.
    """
    terms = Terms(timeout_s, token)
    calls = (_Calls(terms), _Tellings(terms), _Streams(terms))

    def secure(current: grpc.ChannelCredentials) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, current, options=CHANNEL_OPTIONS, interceptors=calls)

    if credentials is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS, interceptors=calls)
    return _RenewedChannel(secure, credentials) if isinstance(credentials, TlsFiles) else secure(credentials)


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


class _Tellings(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_streaming(self._terms, details), request)


class _Streams(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    async def intercept_stream_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        details: grpc.aio.ClientCallDetails,
        requests: Any,
    ) -> Any:
        return await continuation(_streaming(self._terms, details), requests)


def _streaming(terms: Terms, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    """What a call goes by that lasts as long as it's used."""
    return grpc.aio.ClientCallDetails(
        details.method,
        details.timeout,
        grpc.aio.Metadata(*terms.metadata(details.metadata)),
        details.credentials,
        details.wait_for_ready,
    )


class _RenewedChannel(grpc.aio.Channel):
    """A channel whose calls go over another one when the files of its credentials have changed. Those under way go on
    over the old one."""

    def __init__(self, open_: Callable[[grpc.ChannelCredentials], grpc.aio.Channel], tls: TlsFiles) -> None:
        self._renewal = Renewal(open_, tls, self._retire)
        self._retired: set[asyncio.Task[None]] = set()

    def _retire(self, channel: grpc.aio.Channel) -> None:
        closing = asyncio.ensure_future(channel.close(_LONGEST_CALL_S))
        self._retired.add(closing)
        closing.add_done_callback(self._retired.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        for closing in self._retired:
            closing.cancel()
        await self._renewal.current().close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._renewal.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._renewal.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._renewal.current().channel_ready()

    def unary_unary(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "unary_unary", *args, **named)

    def unary_stream(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "unary_stream", *args, **named)

    def stream_unary(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "stream_unary", *args, **named)

    def stream_stream(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "stream_stream", *args, **named)
