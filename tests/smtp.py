"""A recording SMTP server for tests, in a thread, that can be told what to answer and when to hang up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

Phase = Literal["MAIL", "RCPT", "DATA", "ACCEPTED"]


@dataclass(slots=True)
class Mail:
    sender: str
    recipient: str
    content: bytes

    @property
    def parsed(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class SmtpServer:
    """What it has accepted, and how it behaves; both may be changed while it runs."""

    port: int = 0
    accepted: list[Mail] = field(default_factory=list)
    connections: int = 0
    greeted: list[str] = field(default_factory=list)
    """The recipients of all conversations, refused ones too."""
    replies: dict[Phase, str] = field(default_factory=dict)
    """What to answer instead of taking it. `ACCEPTED` isn't answered: the reply after the content is `DATA`'s."""
    hang_up: Phase | None = None
    """Drop the connection instead of answering; at `ACCEPTED`, after the message was taken."""
    stall: Phase | None = None
    """Never answer."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._phase("MAIL", server)
        if reply is None:
            envelope.mail_from = address
        return reply or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.greeted.append(address)
        reply = await self._phase("RCPT", server)
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = await self._phase("DATA", server)
        if reply is not None:
            return reply
        assert isinstance(envelope.content, bytes)
        [recipient] = envelope.rcpt_tos
        self.accepted.append(Mail(str(envelope.mail_from), recipient, envelope.content))
        return await self._phase("ACCEPTED", server) or f"250 2.0.0 queued as {len(self.accepted)}"

    async def _phase(self, phase: Phase, server: SMTP) -> str | None:
        if self.hang_up == phase:
            assert server.transport is not None
            server.transport.abort()
            await asyncio.Event().wait()
        if self.stall == phase:
            await asyncio.Event().wait()
        return self.replies.get(phase)


@contextlib.contextmanager
def smtp_server(*, auth: tuple[str, str] | None = None) -> Iterator[SmtpServer]:
    """A server on a free port. With `auth`, only those with this name and password may send."""
    server = SmtpServer()
    loop = asyncio.new_event_loop()

    def authenticate(
        _server: object, _session: object, _envelope: object, _mechanism: object, given: Any
    ) -> AuthResult:
        right = auth is not None and (given.login.decode(), given.password.decode()) == auth
        return AuthResult(success=right, handled=False)

    def connect() -> SMTP:
        server.connections += 1
        with warnings.catch_warnings():
            # That a password without TLS is no secret. It isn't one here.
            warnings.simplefilter("ignore", UserWarning)
            return SMTP(
                server,
                hostname="relay.test",
                loop=loop,
                enable_SMTPUTF8=False,
                auth_required=auth is not None,
                auth_require_tls=False,
                authenticator=authenticate,
            )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        listening = asyncio.run_coroutine_threadsafe(loop.create_server(connect, "127.0.0.1", 0), loop).result()
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        asyncio.run_coroutine_threadsafe(_stop(listening), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(listening: asyncio.Server) -> None:
    listening.close()
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
