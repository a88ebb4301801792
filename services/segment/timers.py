"""Time as a cause: memberships that change without anything happening."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.chassis.documents import Document
from services.segment.profiles import Profiles


class Timers:
    """Acts on profiles whose `wake_at` has come. A timer that fires twice, or for nothing, changes nothing."""

    def __init__(self, profiles: Profiles, relay: Callable[[Iterable[Document]], None]) -> None:
        self._profiles = profiles
        self._relay = relay

    async def fire(self, documents: list[Document]) -> None:
        """Record what flipped, at the instants at which it did, and set the next timer."""
        known = {document.id: document for document in documents}
        self._relay(await self._profiles.record(known, known=known))
