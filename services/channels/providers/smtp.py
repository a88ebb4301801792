"""Email through an SMTP relay (RFC 5321)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiosmtplib import SMTPException, SMTPResponseException

from services.channels.providers import mime
from services.channels.providers.base import Accepted, Deferred, Outcome, Outgoing, Rejected, Unknown
from services.channels.providers.smtp_pool import Pool, Relay
from services.chassis.clock import SECOND, Clock

# What RFC 3463 calls the destination's fault: no such mailbox, no such system, bad syntax, moved away, takes no mail.
_BAD_DESTINATION = re.compile(r"5\.1\.(?:1|2|3|6|10)\b")
_ADDRESS = re.compile(r'[^\s@<>()\[\],;:"\\\x00-\x1f\x7f]+@[^\s@<>()\[\],;:"\\\x00-\x1f\x7f]+')


@dataclass(slots=True)
class _Progress:
    """How far a conversation has come; what its loss means depends on that."""

    data: bool = False
    """The relay may have all of the message."""
    recipient: bool = False
    """The relay is asked about the recipient."""


class SmtpProvider:
    """One conversation for each message, over connections that are kept and used again.

    A reply decides: 2xx is taken, 4xx is deferred, 5xx is rejected, and at RCPT with an enhanced status code that says
    so the address itself is invalid. Without a reply, the message is deferred if the relay can't have had all of it,
    and unknown from the moment that DATA was sent.
    """

    name = "smtp"

    def __init__(
        self,
        relay: Relay,
        *,
        sender: str,
        clock: Clock,
        connections: int = 20,
        timeout: int = 10 * SECOND,
        unsubscribe_url: str = "",
    ) -> None:
        self.batch = max(1, connections // 4)
        self.timeout = timeout
        self._pool = Pool(relay, connections, timeout / SECOND)
        self._sender = sender
        self._clock = clock
        self._unsubscribe_url = unsubscribe_url

    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        return list(await asyncio.gather(*map(self._send, messages)))

    async def close(self) -> None:
        await self._pool.close()

    async def _send(self, message: Outgoing) -> Outcome:
        sender = message.sender or self._sender
        endpoint = _envelope(message.endpoint)
        if endpoint is None:
            return Rejected("the endpoint is not an address that can be sent to", endpoint_invalid=True)
        try:
            mail = mime.email(message, sender, self._unsubscribe(message), self._clock.now())
        except (ValueError, UnicodeError) as error:
            return Rejected(f"no email can be made of it: {error}")
        progress = _Progress()
        try:
            async with asyncio.timeout(self.timeout / SECOND):
                return await self._converse(mime.address_of(sender), endpoint, mail, progress)
        except SMTPResponseException as error:
            return _replied(error, progress)
        except TimeoutError:
            return _lost("no answer in time", progress)
        except (SMTPException, OSError) as error:
            return _lost(str(error) or type(error).__name__, progress)

    async def _converse(self, sender: str, endpoint: str, mail: bytes, progress: _Progress) -> Outcome:
        async with self._pool.connection() as relay:
            await relay.mail(sender)
            progress.recipient = True
            await relay.rcpt(endpoint)
            progress.recipient = False
            progress.data = True
            response = await relay.data(mail)
            return Accepted(response.message[:200])

    def _unsubscribe(self, message: Outgoing) -> str:
        if not self._unsubscribe_url or not message.marketing:
            return ""
        return f"{self._unsubscribe_url.rstrip('/')}/{message.workspace_id}/{message.send_id}"


def _replied(error: SMTPResponseException, progress: _Progress) -> Outcome:
    detail = f"{error.code} {error.message}"[:500]
    if 200 <= error.code < 300 and progress.data:
        return Accepted(error.message[:200])
    if 500 <= error.code < 600:
        return Rejected(detail, endpoint_invalid=progress.recipient and bool(_BAD_DESTINATION.match(error.message)))
    if 400 <= error.code < 500:
        return Deferred(detail)
    return _lost(f"not a reply of SMTP: {detail}", progress)


def _lost(detail: str, progress: _Progress) -> Outcome:
    return Unknown(detail[:500]) if progress.data else Deferred(detail[:500])


def _envelope(endpoint: str) -> str | None:
    """The address in ASCII, its domain by IDNA; None when it isn't one, or has a local part that needs SMTPUTF8."""
    if not _ADDRESS.fullmatch(endpoint):
        return None
    local, _, domain = endpoint.rpartition("@")
    try:
        return f"{local}@{domain.encode('idna').decode()}" if local.isascii() else None
    except UnicodeError:
        return None
