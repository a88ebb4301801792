"""Collections between whose reads and writes something else happens, at a moment that a test chooses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.chassis.documents import Document, PutResult


@dataclass
class Interrupted:
    """A collection with something else that happens before the `left`th write."""

    inner: Any
    act: Callable[[], Awaitable[None]]
    left: list[int]
    """One number, which all collections of a replica share."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, documents: Sequence[Document]) -> PutResult:
        self.left[0] -= 1
        if self.left[0] == 0:
            await self.act()
        result: PutResult = await self.inner.put(documents)
        return result
