"""What a connection to NATS tells of itself, beside messages: in the log, and to those who ask how the broker is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog

from services.chassis.errors import BrokerUnavailable, RestartNeeded

log = structlog.get_logger()

_REFUSED_S = 30.0
"""How long a refusal counts: what is needed all the time is tried, and refused, again within this."""
_AGAIN_S = 10.0
"""After how long the same trouble is told again."""


class Connection:
    """The callbacks of one NATS client, and what they have told.

    NATS answers what a user may not do with nothing but an error on the connection: whoever asked waits in vain. So a
    refusal is an error in the log, and `check` fails for 30 seconds.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._closing = False
        self._ended = False
        self._refused = ""
        self._refused_at = 0.0
        self._said = ""
        self._said_at = 0.0

    def closing(self) -> None:
        """From now on the end of the connection is what we want."""
        self._closing = True

    def check(self) -> None:
        """Raise `RestartNeeded` when the connection has ended for good, and `BrokerUnavailable` when the broker has
        just refused something."""
        if self._ended:
            raise RestartNeeded("the broker has ended the connection for good, such as for a user it no longer knows")
        if self._refused and self._seconds() - self._refused_at < _REFUSED_S:
            raise BrokerUnavailable(f"the broker doesn't allow us to {self._refused}")

    async def on_error(self, error: Exception) -> None:
        said = str(error) or type(error).__name__
        refused = re.search(r'permissions violation for (publish|subscription) to "([^"]*)"', said, re.IGNORECASE)
        now = self._seconds()
        if refused is None:
            # The client tries again four times a second.
            if said != self._said or now - self._said_at > _AGAIN_S:
                log.warning("broker error", error=said)
                self._said, self._said_at = said, now
            return
        verb = "publish to" if refused[1].lower() == "publish" else "subscribe to"
        self._refused, self._refused_at = f"{verb} {refused[2]}", now
        log.error("not allowed by the broker", operation=refused[1].lower(), subject=refused[2])

    async def on_disconnect(self) -> None:
        if not self._closing:
            log.warning("broker away")

    async def on_reconnect(self) -> None:
        # Permissions may have been mended meanwhile.
        self._refused = ""
        log.info("broker back")

    async def on_closed(self) -> None:
        if not self._closing:
            self._ended = True
            log.error("the broker has ended the connection for good")
