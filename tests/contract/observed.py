"""The four services in one process, on a thread of their own, with everything visible that the contract suite can look
at: what is stored and published, who is let into a servicer, and calls that are kept there."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import replace
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import nats
from camino.testing.contract.target import Fact
from camino.testing.fake.script import Held
from camino.testing.rpcs import Rpc, rpcs
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL
from nats.aio.msg import Msg

from services.channels.providers.base import Outcome, Outgoing, Provider, Unknown
from services.channels.providers.log import LogProvider
from services.chassis.broker import Broker
from services.chassis.callers import KnowsCallers
from services.chassis.clock import DAY, MILLISECOND, SECOND, Instant
from services.chassis.server import Mounted
from tests import kept
from tests.house import House, house
from tests.kept import Kept

T = TypeVar("T")

DOUBTFUL = "doubtful"
"""Messages to addresses that begin so have an unknown outcome."""

_PATIENCE_S = 30.0
_TIDE = 5 * MILLISECOND
_OWN = {"leases"}
"""Collections that change by themselves."""
_PENDING = ("publish_at", "outbox_at", "compute_at", "due_at")
"""Indexed fields that are there only while something is still to be done. What isn't to be done within a day, such as
forgetting an export, isn't waited for."""
_TIMERS = ("wake_at", "resend_at")
"""Those that say when a document goes on by itself: none may fire between two looks at the state."""
_CALM = 3
_TELLING = {rpc.full_name for rpc in rpcs() if rpc.telling}


class _Servicer:
    """A servicer whose calls are counted, and kept inside when asked."""

    def __init__(self, mount: Mounted, entered: Counter[str], holds: Mapping[str, Held]) -> None:
        self._mount = mount
        self._entered = entered
        self._holds = holds

    def __getattr__(self, method: str) -> Callable[[Any, Any], Any]:
        name = f"{self._mount.service}.{method}"

        async def tell(request: Any, context: Any) -> AsyncIterator[Any]:
            self._entered[name] += 1
            if hold := self._holds.get(name):
                await hold.keep()
            async with aclosing(getattr(self._mount.servicer, method)(request, context)) as responses:
                async for response in responses:
                    yield response

        async def call(request: Any, context: Any) -> Any:
            self._entered[name] += 1
            if hold := self._holds.get(name):
                await hold.keep()
            # Asked for at each call, so that a test can put another method in its place.
            return await getattr(self._mount.servicer, method)(request, context)

        return tell if name in _TELLING else call


class _Doubtful(LogProvider):
    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        outcomes = await super().send(messages)
        doubtful = Unknown("the connection broke after the message was given")
        return [
            doubtful if message.endpoint.startswith(DOUBTFUL) else outcome
            for message, outcome in zip(messages, outcomes, strict=True)
        ]


class Observed:
    """A house that is watched. Its methods are for threads other than the one it lives on."""

    partitions = 2

    def __init__(self, directory: Path, callers: KnowsCallers | None = None, token_file: Path | None = None) -> None:
        self._directory = directory
        self._callers = callers
        self._token_file = token_file
        self._entered: Counter[str] = Counter()
        self._holds: dict[str, Held] = {}
        self._facts: list[Fact] = []
        self._numbers = count(1)
        self._quiet: tuple[object, object, object] | None = None

    @contextmanager
    def open(self) -> Iterator[House]:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            with ExitStack() as exits:
                self._enter(exits)
                yield self._house
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _enter(self, exits: ExitStack) -> None:
        email: Provider = _Doubtful(self._directory / "sent.jsonl")
        # A task of its own for the whole life of the house: what it opens must be closed by the task that opened it.
        opened, closing = threading.Event(), asyncio.Event()

        async def live() -> None:
            try:
                async with house(
                    self._directory,
                    observe=self._observe,
                    carriers={CHANNEL_EMAIL: email},
                    callers=self._callers,
                    token_file=self._token_file,
                ) as self._house:
                    self._nats = await nats.connect(self._house.nats_url)
                    await self._nats.subscribe("camino.>", cb=self._note)
                    await self._nats.flush()
                    opened.set()
                    await closing.wait()
                    await self._nats.close()
            finally:
                opened.set()

        life = asyncio.run_coroutine_threadsafe(live(), self._loop)
        opened.wait(_PATIENCE_S)

        def close() -> None:
            self._loop.call_soon_threadsafe(closing.set)
            life.result(_PATIENCE_S)

        exits.callback(close)
        if life.done():
            life.result()
        self._stores = [_Store(path) for path in self._paths()]
        for store in self._stores:
            exits.callback(store.close)

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob("*.db"))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the house's thread do something."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def pass_time(self) -> None:
        """Let a few milliseconds pass on the house's clock, and what is ready run."""
        self._pass(_TIDE)

    def state(self) -> object:
        """What is stored and published. Waits until nothing is under way any more."""
        return self._settled()[:2]

    def stored(self) -> object:
        """What is stored."""
        return self._settled()[0]

    def entered(self, rpc: Rpc) -> int:
        return self._entered[rpc.full_name]

    @contextmanager
    def hold(self, rpc: Rpc) -> Iterator[Held]:
        hold = self._holds[rpc.full_name] = Held()
        try:
            yield hold
        finally:
            del self._holds[rpc.full_name]

    def facts(self, workspace_id: str) -> Sequence[Fact]:
        return [fact for fact in list(self._facts) if f".{workspace_id}." in fact.subject]

    def publish(self, fact: Fact) -> None:
        headers = {**fact.headers, "Nats-Msg-Id": f"again-{next(self._numbers)}"}
        self.do(self._nats.jetstream().publish(fact.subject, fact.data, headers=headers))

    def kept(self) -> Kept:
        """Everything that is stored and published, as it is."""
        found: Kept = {}
        for path in self._paths():
            found |= kept.documents(path)
        return found | self.do(self._kept_messages())

    async def _kept_messages(self) -> Kept:
        broker = await Broker.connect(self._house.nats_url, "observed")
        try:
            return await kept.messages(broker)
        finally:
            await broker.close()

    def _observe(self, mount: Mounted) -> Mounted:
        return replace(mount, servicer=_Servicer(mount, self._entered, self._holds))

    async def _note(self, message: Msg) -> None:
        if not message.reply.startswith("$JS.ACK"):
            self._facts.append(Fact(message.subject, dict(message.headers or {}), message.data))

    def _settled(self) -> tuple[object, object, object]:
        if self._quiet and self._quiet[2] == self._versions():
            return self._quiet
        calm = 0
        while calm < _CALM:
            versions, due = self._versions(), self._due()
            rest = due is None and self.do(self._drained()) and versions == self._versions()
            calm = calm + 1 if rest else 0
            self._pass(_TIDE if due is None else max(_TIDE, due - self._house.clock.now()))
        self._quiet = (self._digest(), self.do(self._streams()), self._versions())
        return self._quiet

    def _pass(self, time: Instant) -> None:
        async def pass_() -> None:
            self._house.clock.advance(time)
            await asyncio.sleep(0.001)

        self.do(pass_())

    def _versions(self) -> object:
        """Differs from one look to the next if somebody wrote to a store meanwhile."""
        return tuple(store.execute("PRAGMA data_version").fetchone()[0] for store in self._stores)

    def _due(self) -> int | None:
        """When the next thing that somebody still has to do is due, or None if nobody has."""
        soon, tomorrow = self._house.clock.now() + SECOND, self._house.clock.now() + DAY
        due = []
        for store in self._stores:
            for table, columns in store.tables().items():
                for field, before in (*((name, tomorrow) for name in _PENDING), *((name, soon) for name in _TIMERS)):
                    if f"body.{field}" in columns:
                        query = f'SELECT min("body.{field}") FROM "{table}" WHERE "body.{field}" < {before}'
                        due.extend(row[0] for row in store.execute(query) if row[0] is not None)
        return min(due, default=None)

    async def _drained(self) -> bool:
        jetstream = self._nats.jetstream()
        for stream in await jetstream.streams_info():
            for consumer in await jetstream.consumers_info(stream.config.name):
                if consumer.num_pending or consumer.num_ack_pending:
                    return False
        return True

    async def _streams(self) -> object:
        return {
            stream.config.name: (stream.state.messages, stream.state.last_seq)
            for stream in await self._nats.jetstream().streams_info()
        }

    def _digest(self) -> object:
        digests = {}
        for store in self._stores:
            for table in store.tables():
                digest = blake2b(digest_size=16)
                for row in store.execute(f'SELECT id, rev, body FROM "{table}" ORDER BY id'):
                    digest.update(repr(row).encode())
                digests[f"{store.name}.{table}"] = digest.hexdigest()
        return digests


class _Store:
    """A service's embedded store, looked into while the service has it open."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._schema = -1
        self._tables: dict[str, set[str]] = {}
        self.execute = self._connection.execute
        self.close = self._connection.close

    def tables(self) -> Mapping[str, set[str]]:
        """Those of documents, in the order of their names, with their columns. Looked up again when the schema has
        changed: it hardly ever does, and looking takes longer than all else that is asked here."""
        [schema] = self.execute("PRAGMA schema_version").fetchone()
        if schema != self._schema:
            found = {name: {row[1] for row in self.execute(f'PRAGMA table_info("{name}")')} for name in self._names()}
            self._tables = {name: columns for name, columns in found.items() if "body" in columns}
            self._schema = schema
        return self._tables

    def _names(self) -> list[str]:
        rows = self.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        return sorted({name for (name,) in rows} - _OWN)
