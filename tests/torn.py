"""Collections that others come between, and that die between any two documents."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.chassis.documents import Document, PutResult


class Died(Exception):
    """The process was killed."""


@dataclass
class Life:
    """How many documents a process writes before it's killed, and whether it has been."""

    left: int
    dead: bool = False
    written: int = 0

    def write(self) -> None:
        self.check()
        if self.written == self.left:
            self.dead = True
            raise Died
        self.written += 1

    def check(self) -> None:
        if self.dead:
            raise Died


@dataclass
class Mortal:
    """A collection of a process that may be killed between any two documents that it writes; after that it does nothing
    any more, whatever tries to clean up."""

    inner: Any
    life: Life

    def __getattr__(self, name: str) -> Any:
        self.life.check()
        return getattr(self.inner, name)

    async def put(self, documents: Sequence[Document]) -> PutResult:
        result = PutResult()
        for document in documents:
            self.life.write()
            _add(result, await self.inner.put([document]))
        return result

    async def delete(self, ids: Iterable[str]) -> int:
        deleted = 0
        for id_ in ids:
            self.life.write()
            deleted += await self.inner.delete([id_])
        return deleted


@dataclass
class OneByOne:
    """A collection whose batches are not written at once: others come between, as they do on a cluster."""

    inner: Any
    chance: random.Random

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, documents: Sequence[Document]) -> PutResult:
        result = PutResult()
        for document in self.chance.sample(list(documents), len(documents)):
            _add(result, await self.inner.put([document]))
        return result


def _add(result: PutResult, one: PutResult) -> None:
    result.saved += one.saved
    result.conflicted += one.conflicted
    result.duplicate += one.duplicate
