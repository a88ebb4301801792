"""A channel of the blocking flavour, on the same terms as the asyncio one's."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from camino.client.connection import TIMEOUT_S
from camino.client.errors import from_rpc_error
from camino.client.renewal import Renewal, RenewedMethod
from camino.client.terms import CHANNEL_OPTIONS, Terms
from camino.client.tls import Credentials, TlsFiles
from camino.client.tokens import Token


def open_channel(
    target: str,
    *,
    credentials: Credentials | None = None,
    token: Token | None = None,
    timeout_s: float = TIMEOUT_S,
) -> grpc.Channel:
    """As `camino.client.channel.open_channel`. A unary call that's made by `future` fails with grpc's own error; see
    `from_rpc_error`. Close the channel by its own `close`, or use it as a context manager."""

    def secure(current: grpc.ChannelCredentials) -> grpc.Channel:
        return grpc.secure_channel(target, current, options=CHANNEL_OPTIONS)

    channel: grpc.Channel
    if credentials is None:
        channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
    elif isinstance(credentials, TlsFiles):
        channel = _RenewedChannel(secure, credentials)
    else:
        channel = secure(credentials)
    return grpc.intercept_channel(channel, _Calls(Terms(timeout_s, token)))


class _CallDetails(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Details(_CallDetails, grpc.ClientCallDetails):
    """What grpc asks an interceptor to hand on; it offers no class to build it from."""


class _Calls(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        outcome = continuation(
            _Details(
                details.method,
                self._terms.timeout(details.timeout),
                self._terms.metadata(details.metadata),
                details.credentials,
                details.wait_for_ready,
                details.compression,
            ),
            request,
        )
        # A blocking call is done by now; one that's made by `future` is most likely not.
        error = outcome.exception() if outcome.done() else None
        if isinstance(error, grpc.RpcError):
            raise from_rpc_error(error) from None
        return outcome

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=self._terms.metadata(details.metadata)), request)

    def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return continuation(details._replace(metadata=self._terms.metadata(details.metadata)), requests)


class _RenewedChannel(grpc.Channel):
    """A channel whose calls go over another one when the files of its credentials have changed. Those under way go on
    over the old one, which is closed at the next change: closing a channel of this flavour ends its calls."""

    def __init__(self, open_: Callable[[grpc.ChannelCredentials], grpc.Channel], tls: TlsFiles) -> None:
        self._renewal = Renewal(open_, tls, self._retire)
        self._retired: grpc.Channel | None = None

    def _retire(self, channel: grpc.Channel) -> None:
        if self._retired is not None:
            self._retired.close()
        self._retired = channel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._renewal.current().close()
        if self._retired is not None:
            self._retired.close()

    def subscribe(self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False) -> None:
        self._renewal.current().subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        self._renewal.current().unsubscribe(callback)

    def unary_unary(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "unary_unary", *args, **named)

    def unary_stream(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "unary_stream", *args, **named)

    def stream_unary(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "stream_unary", *args, **named)

    def stream_stream(self, *args: Any, **named: Any) -> Any:
        return RenewedMethod(self._renewal, "stream_stream", *args, **named)
