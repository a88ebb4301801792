"""Signing messages by the Standard Webhooks specification (https://www.standardwebhooks.com), with symmetric keys."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256

from services.chassis.clock import SECOND, Instant

_PREFIX = "whsec_"
_BYTES = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """As the specification writes them: `whsec_`, and random bytes in base64."""
    return _PREFIX + b64encode(secrets.token_bytes(_BYTES)).decode()


def headers(message_id: str, at: Instant, body: bytes, keys: Iterable[str]) -> dict[str, str]:
    """What says that a body that is sent at an instant is ours: one signature by each secret."""
    timestamp = str(at // SECOND)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix(_PREFIX))
    return b64encode(hmac.digest(key, signed, sha256)).decode()
