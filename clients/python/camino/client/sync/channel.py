"""A channel of the blocking flavour, on the same terms as the asyncio one's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
) -> grpc.Channel:
    """As `camino.client.channel.open_channel`. A unary call that's made by `future` fails with grpc's own error; see
    `from_rpc_error`. Close the channel by its own `close`, or use it as a context manager."""
    if credentials is None:
        channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
    else:
        channel = grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
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


class _Calls(grpc.UnaryUnaryClientInterceptor):
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
