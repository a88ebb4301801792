"""A database that measures how long each operation takes, whichever engine does it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from prometheus_client import Histogram

from services.chassis.documents import Collection, Database, Document, Page, PutResult, Schema, Value
from services.chassis.measures import STORE_DURATION
from services.chassis.metrics import Metrics

Result = TypeVar("Result")


class MeasuredDatabase:
    def __init__(self, inner: Database, metrics: Metrics) -> None:
        self._inner = inner
        self._durations = metrics.histogram(STORE_DURATION)

    def collection(self, schema: Schema) -> Collection:
        return _MeasuredCollection(self._inner.collection(schema), schema.name, self._durations)

    async def migrate(self, schemas: Iterable[Schema]) -> None:
        await self._inner.migrate(schemas)

    async def ping(self) -> None:
        await self._inner.ping()

    async def close(self) -> None:
        await self._inner.close()


class _MeasuredCollection:
    def __init__(self, inner: Collection, name: str, durations: Histogram) -> None:
        self._inner = inner
        self._name = name
        self._durations = durations
        self._bound: dict[str, Histogram] = {}

    async def get(self, ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(ids)
        # The engines ask nobody for nothing, so that would be no measure of them.
        return await self._timed("get", self._inner.get(wanted)) if wanted else {}

    async def put(self, documents: Sequence[Document]) -> PutResult:
        return await self._timed("put", self._inner.put(documents)) if documents else PutResult()

    async def query(
        self,
        index: str,
        *equal: Value,
        at_least: Value | None = None,
        below: Value | None = None,
        limit: int,
        after: str = "",
        descending: bool = False,
    ) -> Page:
        return await self._timed(
            "query",
            self._inner.query(
                index, *equal, at_least=at_least, below=below, limit=limit, after=after, descending=descending
            ),
        )

    async def scan(self, *, limit: int, after: str = "", prefix: str = "") -> Page:
        return await self._timed("scan", self._inner.scan(limit=limit, after=after, prefix=prefix))

    async def delete(self, ids: Iterable[str]) -> int:
        return await self._timed("delete", self._inner.delete(ids))

    async def count(self, index: str, *equal: Value, at_least: Value | None = None, below: Value | None = None) -> int:
        return await self._timed("count", self._inner.count(index, *equal, at_least=at_least, below=below))

    async def _timed(self, operation: str, work: Awaitable[Result]) -> Result:
        durations = self._bound.get(operation)
        if durations is None:
            durations = self._bound[operation] = self._durations.labels(self._name, operation)
        began = time.perf_counter()
        try:
            return await work
        finally:
            durations.observe(time.perf_counter() - began)
