"""How one service calls another: round robin over replicas, retries by service config, a deadline on every call."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from services.chassis.errors import Unavailable

_MAX_MESSAGE = 16 * 1024 * 1024

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
)


def open_channel(target: str, *, timeout_s: float = 10.0) -> grpc.aio.Channel:
    """A channel to a service. A DNS name of several addresses is balanced over all of them.

    Calls without a timeout of their own get `timeout_s`. UNAVAILABLE is retried three times: every RPC of ours may be
    repeated.
    """
    return grpc.aio.insecure_channel(
        target,
        options=(
            ("grpc.service_config", _SERVICE_CONFIG),
            ("grpc.enable_retries", 1),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
        ),
        interceptors=(_Deadline(timeout_s),),
    )


class _Deadline(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        if details.timeout is None:
            details = grpc.aio.ClientCallDetails(
                details.method, self._timeout_s, details.metadata, details.credentials, details.wait_for_ready
            )
        return await continuation(details, request)


_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


async def ask(call: Awaitable[Any]) -> Any:
    """Await a call of another service. Raises `Unavailable` for failures that pass, and lets the others through."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() in _PASSING:
            raise Unavailable(f"another service: {error.code().name}: {error.details()}") from error
        raise
