"""Time as a cause: memberships that change without anything happening, and what is due to those that are no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.chassis.documents import Document
from services.segment import graves
from services.segment.erasing import Erasing
from services.segment.merging import Merging
from services.segment.profiles import Profiles


class Timers:
    """Acts on documents whose `wake_at` has come. A timer that fires twice, or for nothing, changes nothing."""

    def __init__(
        self,
        profiles: Profiles,
        merging: Merging,
        erasing: Erasing,
        relay: Callable[[Iterable[Document]], None],
    ) -> None:
        self._profiles = profiles
        self._merging = merging
        self._erasing = erasing
        self._relay = relay

    async def fire(self, documents: list[Document]) -> None:
        """Of profiles, record what flipped, at the instants at which it did, and set the next timer. Finish what others
        began who died: a merge, an erasure."""
        known: dict[str, Document] = {}
        merged, erased = [], []
        for document in documents:
            if graves.is_erased(document.body):
                erased.append(document)
            elif graves.joined_to(document.body):
                merged.append(document)
            else:
                known[document.id] = document
        if known:
            self._relay((await self._profiles.record(known, known=known)).owing)
        if merged:
            await self._merging.finish(merged)
        if erased:
            await self._erasing.settle(erased)
