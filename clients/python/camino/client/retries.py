"""Which calls are tried again by themselves: those whose schema says that repeating them has no second effect."""

from __future__ import annotations

import json
from collections.abc import Iterable

from google.protobuf.descriptor import ServiceDescriptor

_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # A server that stops cancels what comes before its word of that. A call that its caller cancels isn't retried.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
# With half of the tokens gone, nothing is retried until enough calls have succeeded: a service that is down isn't given
# four times the load. https://github.com/grpc/proposal/blob/master/A6-client-retries.md
_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}


def service_config(services: Iterable[ServiceDescriptor]) -> str:
    """A gRPC service config, as JSON: calls go round robin over all addresses of a name, and UNAVAILABLE is retried
    three times for the methods of `services` that declare an `idempotency_level`; so is CANCELLED, if a server says so.

    Streams are not: who sends over one sends again what has no answer, and gRPC's own replay (1.85) now and then leaves
    a request out when a stream is retried while more is written to it.
    """
    repeatable = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if method.GetOptions().idempotency_level and not method.client_streaming
    ]
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [{"name": repeatable, "retryPolicy": _RETRY_POLICY}],
            "retryThrottling": _THROTTLING,
        }
    )
