"""What is given for an item that's handed over, and the failures that nobody has looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from camino.profile.v1.profile_service_pb2 import ItemResult

_MOST = 1_000


class Receipt(asyncio.Future[ItemResult]):
    """Resolves to the item's result once it's durable, or raises `ItemFailed` if Camino refused it, `CaminoError` if it
    couldn't be sent. Cancelling it doesn't call the item back."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.asked = False
        """Whether anybody wanted to know how it came out."""

    def __await__(self) -> Generator[Any, None, ItemResult]:
        self.asked = True
        return super().__await__()

    def result(self) -> ItemResult:
        self.asked = True
        return super().result()

    def exception(self) -> BaseException | None:
        self.asked = True
        return super().exception()


class Failures:
    """Receipts of failed items that nobody has asked for."""

    def __init__(self) -> None:
        self._receipts: list[Receipt] = []

    def add(self, receipt: Receipt) -> None:
        self._receipts.append(receipt)

    def too_many(self) -> bool:
        """Whether there are a thousand of them: more than anyone wants to be told, or to keep in memory."""
        if len(self._receipts) >= _MOST:
            self._receipts = [receipt for receipt in self._receipts if not receipt.asked]
        return len(self._receipts) >= _MOST

    def take(self) -> ExceptionGroup[Exception] | None:
        """All of them; from now on they count as asked for."""
        unasked = [receipt for receipt in self._receipts if not receipt.asked]
        self._receipts = []
        errors = [error for receipt in unasked if isinstance(error := receipt.exception(), Exception)]
        return ExceptionGroup(f"items that were not taken: {len(errors)}", errors) if errors else None
