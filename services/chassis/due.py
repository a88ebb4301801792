"""Documents whose time has come: timers, retries and outbox sweeps are all this."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from services.chassis.clock import MILLISECOND, SECOND, Clock, Instant, wait_for_any
from services.chassis.documents import Collection, Document
from services.chassis.errors import CaminoError
from services.chassis.failures import words_of
from services.chassis.measures import TIMER_LATENESS
from services.chassis.telemetry import Telemetry

log = structlog.get_logger()

_LOOK_AHEAD = 5 * SECOND
_GATHER = 4 * MILLISECOND
_GATHER_MOST = 48 * MILLISECOND
_A_FEW = 4
"""Documents that are read beyond as many as were due the last time."""
_POISON_PAUSE = 60 * SECOND


class Due:
    """Gives documents to `act` when the instant in one of their fields has come.

    The index orders documents by (partition, instant). `act` must move the instant on, or take the field away; a
    document that it leaves as it was comes again. Firing twice is harmless by `act`'s compare-and-set. Only partitions
    whose next known instant has come are read, so a service at rest asks its store next to nothing; writers in this
    process announce nearer instants with `hint`, those of other processes are seen within 5 seconds. When a partition
    becomes ours, documents due within `eager` are acted on at once: whoever would have acted before they are due has
    died or let go.
    """

    def __init__(
        self,
        name: str,
        collection: Collection,
        index: str,
        field: str,
        *,
        held: Callable[[], Iterable[int]],
        clock: Clock,
        act: Callable[[list[Document]], Awaitable[None]],
        limit: int = 500,
        eager: Instant = 0,
        telemetry: Telemetry | None = None,
    ) -> None:
        telemetry = telemetry or Telemetry()
        self._tracing = telemetry.tracing
        self._lateness = telemetry.metrics.histogram(TIMER_LATENESS).labels(name)
        self.name = name
        self._collection = collection
        self._index = index
        self._field = field
        self._held = held
        self._clock = clock
        self._act = act
        self._limit = limit
        self._eager = eager
        self._next: dict[int, Instant] = {}
        self._nearer = asyncio.Event()
        self._stopped = asyncio.Event()
        self._skipped: dict[str, Instant] = {}
        self._usual: dict[int, int] = {}
        """How many were due in a partition the last time."""
        self._acted_on = 0
        """How many documents, in the last tick."""

    def hint(self, partition: int, at: Instant) -> None:
        """Say that a document of this partition is due at `at`."""
        if at < self._next.get(partition, 0):
            self._next[partition] = at
            self._nearer.set()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            self._nearer.clear()
            more = await self.tick()
            now = self._clock.now()
            if more:
                continue
            nearest = min((self._next.get(partition, now) for partition in self._held()), default=now + SECOND)
            # Instants a few milliseconds apart are taken together, and more of them where there are many: one read and
            # one write for all.
            gathered = now + min(_GATHER * max(1, self._acted_on), _GATHER_MOST)
            await wait_for_any(self._clock, gathered, self._stopped)
            await wait_for_any(self._clock, max(nearest, gathered), self._nearer, self._stopped)

    async def tick(self) -> bool:
        """Act on what is due now, at most `limit` documents. Whether there may be more."""
        now = self._clock.now()
        held = self._held()
        for partition in self._next.keys() - set(held):
            del self._next[partition]
        self._skipped = {id_: until for id_, until in self._skipped.items() if until > now}
        due: list[Document] = []
        try:
            for partition in sorted(held):
                room = self._limit - len(due)
                if room and self._next.get(partition, now) <= now:
                    due.extend(await self._read(partition, now, room))
        except BaseException:
            # What was read of other partitions is still to be acted on.
            self._next.update({document.body["partition"]: now for document in due})
            raise
        self._acted_on = len(due)
        await self._give(due, now)
        return any(self._next.get(partition, now) <= now for partition in held)

    async def _read(self, partition: int, now: Instant, room: int) -> list[Document]:
        """The documents of a partition that are due, and what is known of the next one."""
        new = partition not in self._next
        come = now + self._eager if new else now
        # Set before the read, so that a hint given while it goes on is not lost.
        self._next[partition] = come + _LOOK_AHEAD
        try:
            ready, following = await self._ready(partition, come, room)
        except BaseException:
            self._next.pop(partition, None)
            raise
        self._usual[partition] = len(ready)
        if following is not None:
            self._next[partition] = min(self._next[partition], max(following, now))
        elif new:
            self._next[partition] = min(self._next[partition], now + _LOOK_AHEAD)
        return [document for document in ready if document.id not in self._skipped]

    async def _ready(self, partition: int, come: Instant, room: int) -> tuple[list[Document], Instant | None]:
        """The documents of a partition whose instant has come, skipped ones included, and when the next one's comes:
        None if that isn't soon, 0 if it has and there is no room for it. Only about as many are read as are likely to
        be due, and then more, because each is read as a whole."""
        ready: dict[str, Document] = {}
        # Room for those that are skipped, so that they never hide the ones behind them.
        room += len(self._skipped)
        size, after = self._usual.get(partition, 0) + _A_FEW, ""
        while True:
            page = await self._collection.query(
                self._index, partition, below=come + _LOOK_AHEAD, limit=min(size, room), after=after
            )
            for document in page.documents:
                if document.body[self._field] > come:
                    return list(ready.values()), document.body[self._field]
                # By id, because one that is written meanwhile may come again.
                ready[document.id] = document
            if not page.next:
                return list(ready.values()), None
            room -= len(page.documents)
            if not room:
                return list(ready.values()), 0
            size, after = 4 * size, page.next

    async def _give(self, due: list[Document], now: Instant) -> None:
        if not due:
            return
        instants = [document.body[self._field] for document in due]
        try:
            with self._tracing.batch(self.name, ((one, one.body.get("traceparent", "")) for one in due)):
                await self._act(due)
            for instant in instants:
                self._lateness.observe(max(0, now - instant) / SECOND)
        except Exception as error:
            partitions = {document.body["partition"] for document in due}
            self._next.update(dict.fromkeys(partitions, now))
            if isinstance(error, CaminoError) and error.status.transient:
                raise
            if len(due) > 1:
                middle = len(due) // 2
                await self._give(due[:middle], now)
                await self._give(due[middle:], now)
                return
            # One document that can't be acted on must not hold up the others. It stays due, is said aloud, and is tried
            # again.
            log.error("due document failed", due=self.name, document=due[0].id, error=words_of(error), exc_info=error)
            self._skipped[due[0].id] = now + _POISON_PAUSE
