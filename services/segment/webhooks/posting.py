"""Posting a message: HTTP, and what came of it in our words."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp

from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.version import VERSION
from services.segment.webhooks.networks import AddressRefused, Networks

_READ_BYTES = 4 * 1024
"""So much of an answer is read, that the connection can be used again; what it says is nothing to us."""
_GONE = HTTPStatus.GONE
_WAITS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of posting a message."""

    taken: bool
    error: str = ""
    """Why it wasn't taken. Never what the receiver said in its own words: whoever puts a webhook may read this, and
    must not learn by it what only this service can read."""
    status: int = 0
    """The HTTP status; 0 without an answer."""
    gone: bool = False
    """Whether the receiver wants no more, ever."""
    retry_at: Instant = 0
    """When the receiver asks for it again; 0 if it doesn't say."""

    @property
    def kind(self) -> str:
        """In a word, for the metrics."""
        if self.taken:
            return "taken"
        return "refused" if self.status else "unreached"


class Poster:
    """Posts to receivers. Redirects aren't followed, cookies not kept, and proxies of the environment not used."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock, timeout_s: float) -> None:
        self._session = session
        self._clock = clock
        self._timeout_s = timeout_s

    @classmethod
    @asynccontextmanager
    async def opened(cls, networks: Networks, clock: Clock, timeout_s: float) -> AsyncIterator[Poster]:
        """With connections of its own, which are closed at the end."""
        # Whoever posts limits how many there are at once.
        connector = aiohttp.TCPConnector(limit=0, socket_factory=networks.socket)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            auto_decompress=False,
            headers={"user-agent": f"Camino/{VERSION}", "content-type": "application/json"},
        ) as session:
            yield cls(session, clock, timeout_s)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Post a body. Whatever comes of it is an outcome; nothing is raised."""
        try:
            try:
                return await self._post(url, body, headers)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # Receivers close a connection that they've kept for a while, and may do so just when it's used again.
                return await self._post(url, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Outcome(False, self._words(error))

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            outcome = self._answered(response)
            try:
                await response.content.read(_READ_BYTES)
            except (aiohttp.ClientError, TimeoutError):
                pass  # It has answered all the same.
            if not response.content.at_eof():
                response.close()
            return outcome

    def _answered(self, response: aiohttp.ClientResponse) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            return Outcome(True, status=status)
        error = f"it answered {_named(status)}"
        if 300 <= status < 400:
            error += ", and redirects aren't followed"
        retry_at = self._asked(response.headers.get("retry-after", "")) if status in _WAITS else 0
        return Outcome(False, error, status, status == _GONE, retry_at)

    def _asked(self, retry_after: str) -> Instant:
        """The instant that Retry-After names (RFC 9110, 10.2.3); 0 if none."""
        if retry_after.isascii() and retry_after.isdigit():
            return self._clock.now() + int(retry_after[:9]) * SECOND
        try:
            return int(parsedate_to_datetime(retry_after).timestamp()) * SECOND
        except (ValueError, TypeError, OverflowError):
            return 0

    def _words(self, error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} seconds"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return "the name of its host isn't known"
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
            return "its certificate isn't valid, or it doesn't speak TLS"
        if isinstance(error, aiohttp.ClientConnectorError):
            if isinstance(error.os_error, AddressRefused):
                return "its address may not be reached: CAMINO_WEBHOOK_NETWORKS doesn't allow it"
            return "it can't be connected to"
        if isinstance(error, aiohttp.InvalidURL):
            return "its URL isn't one"
        return "the connection broke, or it doesn't speak HTTP"


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
