"""Records whose end isn't booked yet, in the order of the file."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from camino.client import ItemFailed, Pace, Receipt
from camino.errors.v1.reason_pb2 import Reason
from camino.profile.v1.profile_service_pb2 import ItemResult

from cli.importing.records import Record, Rejection

PACE = Pace()
_MOST = PACE.unsettled
"""No more than the ingestion takes: so handing over never waits there, and waiting is done here."""
_MOST_BYTES = 16 * 1024 * 1024


class Pending:
    def __init__(self) -> None:
        self._records: deque[tuple[Record, Receipt | Rejection]] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._records)

    @property
    def full(self) -> bool:
        """Whether nothing more should be read before something is settled."""
        return len(self._records) >= _MOST or self._bytes >= _MOST_BYTES

    def add(self, record: Record, end: Receipt | Rejection) -> None:
        if isinstance(end, Receipt):
            end.asked = True  # It will be, in its turn: a failure is no surprise that the ingestion should raise.
        self._records.append((record, end))
        self._bytes += len(record.text)

    async def wait(self, within_s: float) -> None:
        """Return when the first record is settled, or after so many seconds."""
        _, end = self._records[0]
        if isinstance(end, Receipt):
            await asyncio.wait((end,), timeout=within_s)

    def settled(self) -> Iterator[tuple[Record, ItemResult | Rejection]]:
        """Take out the records up to the first that isn't settled.

        Raises what that one failed with if it was neither taken nor refused, and then leaves it in.
        """
        while self._records:
            record, end = self._records[0]
            if isinstance(end, Receipt):
                if not end.done() or end.cancelled():
                    return
                settled = _end(end)
            else:
                settled = end
            self._records.popleft()
            self._bytes -= len(record.text)
            yield record, settled

    def drop(self) -> None:
        """Forget them all."""
        for _, end in self._records:
            # One whose failure nobody looks at is logged by asyncio, with the person's data in it.
            if isinstance(end, Receipt) and end.done() and not end.cancelled():
                end.exception()
        self._records.clear()


def _end(receipt: Receipt) -> ItemResult | Rejection:
    try:
        return receipt.result()
    except ItemFailed as error:
        known = Reason.DESCRIPTOR.values_by_number.get(error.reason)
        reason = known.name.removeprefix("REASON_") if known else str(error.reason)
        return Rejection(reason, error.field, error.message)
