"""Connections to an SMTP relay, kept and used again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

_IDLE_S = 20.0
_MESSAGES = 200
_GOING_AWAY = 421


@dataclass(frozen=True, slots=True)
class Relay:
    """Where to and how."""

    host: str
    port: int
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str = ""
    password: str = ""


@dataclass(slots=True)
class _Connection:
    smtp: SMTP
    used: int = 0
    idle_since: float = 0.0


class Pool:
    """At most `size` connections, each for one conversation at a time.

    One is closed when it's idle for 20 seconds (before most relays do), after 200 messages (so that a relay's replicas
    get their share), and whenever a conversation on it ended in anything but a reply.
    """

    def __init__(self, relay: Relay, size: int, timeout_s: float) -> None:
        self._relay = relay
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Connection] = []
        self._reaper: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[SMTP]:
        """A connection that is ready for MAIL. Raises what aiosmtplib raises when there can't be one."""
        async with self._free:
            connection = self._take() or await self._open()
            fit = False
            try:
                yield connection.smtp
                fit = True
            except SMTPResponseException as error:
                fit = await self._reset(connection, error)
                raise
            finally:
                if fit:
                    self._keep(connection)
                else:
                    connection.smtp.close()

    async def close(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(_quit, idle))

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.smtp.is_connected:
                return connection
        return None

    async def _open(self) -> _Connection:
        relay = self._relay
        smtp = SMTP(
            hostname=relay.host,
            port=relay.port,
            username=relay.username or None,
            password=relay.password or None,
            use_tls=relay.tls == "implicit",
            start_tls=relay.tls == "starttls",
            local_hostname=socket.gethostname(),
            timeout=self._timeout_s,
        )
        try:
            await smtp.connect()
            await smtp.ehlo()
        except SMTPResponseException as error:
            smtp.close()
            # Refused before there was a message: that is about us, and no fault of the message.
            raise SMTPException(f"the relay refused the connection: {error.code} {error.message}") from error
        return _Connection(smtp)

    async def _reset(self, connection: _Connection, error: SMTPResponseException) -> bool:
        """Make a connection fit for another message after a reply that ended one (RFC 5321, 4.1.1.5)."""
        if error.code == _GOING_AWAY or not 400 <= error.code < 600:
            return False
        try:
            await connection.smtp.rset()
        except (SMTPException, OSError):
            return False
        return True

    def _keep(self, connection: _Connection) -> None:
        connection.used += 1
        if connection.used >= _MESSAGES or not connection.smtp.is_connected:
            connection.smtp.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(_IDLE_S, self._reap)

    def _reap(self) -> None:
        now = asyncio.get_running_loop().time()
        self._reaper = None
        while self._idle and self._idle[0].idle_since <= now - _IDLE_S:
            self._idle.pop(0).smtp.close()
        if self._idle:
            wait = self._idle[0].idle_since + _IDLE_S - now
            self._reaper = asyncio.get_running_loop().call_later(wait, self._reap)


async def _quit(connection: _Connection) -> None:
    with contextlib.suppress(SMTPException, OSError, TimeoutError):
        await connection.smtp.quit(timeout=1)
    connection.smtp.close()
