"""The flow of an import: read, hand over, book, a few thousand records at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

from camino.client import Ingestion, Receipt
from camino.profile.v1.profile_service_pb2 import EventInput

from cli.importing.checkpoint import Counts
from cli.importing.items import Item
from cli.importing.ledger import Ledger
from cli.importing.pending import Pending
from cli.importing.records import Record, Rejection

_TICK_S = 0.25
_SAVE_EVERY_S = 1.0
_RECORDS_AT_A_TIME = 100


class TooManyRejects(Exception):
    """More records were rejected than were to be."""


class Sending:
    """One run over a file."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        show: Callable[[Counts], None],
        max_rejects: int | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`show` is told how it goes, often."""
        self._ledger = ledger
        self._show = show
        self._max_rejects = max_rejects
        self._now = now
        self._saved_at = now()
        self._pending = Pending()

    async def run(self, ingestion: Ingestion, items: Iterable[tuple[Record, Item | Rejection]]) -> None:
        """Send everything. However this ends, what was settled by then is booked and kept.

        Raises `TooManyRejects`; `CaminoError` when items can't be sent; what reading the file raises; OSError.
        """
        try:
            async with ingestion:
                self._tick()
                for number, (record, item) in enumerate(items):
                    self._pending.add(record, await _hand_over(ingestion, item))
                    if number % _RECORDS_AT_A_TIME == 0:
                        await asyncio.sleep(0)  # The calls get their turn.
                        self._tick()
                    while self._pending.full:
                        await self._wait()
                while self._pending:
                    await self._wait()
        except BaseException:
            # Leaving the ingestion has settled what was under way.
            self._keep()
            raise
        self._ledger.close()

    async def _wait(self) -> None:
        await self._pending.wait(_TICK_S)
        self._tick()

    def _tick(self) -> None:
        self._ledger.book(self._pending)
        self._show(self._ledger.counts)
        if self._now() - self._saved_at >= _SAVE_EVERY_S:
            self._ledger.save()
            self._saved_at = self._now()
        if self._max_rejects is not None and self._ledger.counts.rejected > self._max_rejects:
            raise TooManyRejects

    def _keep(self) -> None:
        # What an item failed with is what this run ends by, or came after it.
        with contextlib.suppress(Exception):
            self._ledger.book(self._pending)
        self._pending.drop()
        self._ledger.save()


async def _hand_over(ingestion: Ingestion, item: Item | Rejection) -> Receipt | Rejection:
    if isinstance(item, Rejection):
        return item
    try:
        return await (ingestion.event(item) if isinstance(item, EventInput) else ingestion.profile(item))
    except ValueError as error:
        return Rejection("INVALID_FIELD", "", str(error))
