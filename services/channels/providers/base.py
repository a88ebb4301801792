"""What the channels service asks of whatever carries its messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.channels.domain import Accepted, Deferred, Outcome, Rejected, Unknown

__all__ = ["Accepted", "Deferred", "Outcome", "Outgoing", "Provider", "Rejected", "Unknown"]


@dataclass(slots=True)
class Outgoing:
    """A rendered message on its way out."""

    workspace_id: str
    send_id: str
    endpoint: str
    subject: str
    text: str
    html: str
    sender: str
    """A mailbox; the provider's default when empty."""
    marketing: bool


class Provider(Protocol):
    """Carries messages of one kind to their endpoints.

    Each message is tried once: a provider never tries again by itself, and says what happened so that every error is
    classified once and here. It says `Deferred` or `Rejected` only when the message can't have been taken, and
    `Unknown` whenever it may have been.
    """

    name: str
    """Stored with each message that was given to it."""
    batch: int
    """How many messages to give at once: a crash meanwhile leaves as many with an unknown outcome."""
    timeout: int
    """It answers within so many microseconds."""

    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        """What became of each message, in their order. Doesn't raise for what happens to a message."""
        ...

    async def close(self) -> None: ...
