"""The services that hold something on people besides the profile service, as servers on real sockets that hold what a
test says, and may be away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1.decision_pb2 import Decision
from google.protobuf.message import Message

from services.chassis import personal_data
from services.chassis.callers import KnowsCallers
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters, Letter
from services.chassis.events import subject_of
from services.chassis.personal_data import Held, Subject
from services.chassis.server import Server
from services.chassis.stores import open_database
from services.chassis.testing import FakeClock

OTHERS = ("orchestrator", "segment", "channels")


class Holder:
    """One of them. `erased` are the people that it was asked to erase, in order."""

    def __init__(self, name: str, asked: list[str], dead_letters: DeadLetters) -> None:
        self.name = name
        self.things: list[Message] = []
        self.erased: list[Subject] = []
        self.dead_letters = dead_letters
        self._asked = asked
        self.held: Sequence[Held] = (Held("nothing", self._nothing), Held("decisions", self._page))
        self.server: Server | None = None
        self.port = 0
        self.callers: KnowsCallers | None = None
        """To whom it listens when it comes the next time; to everybody, if it isn't said."""

    async def erase(self, subject: Subject) -> Mapping[str, int]:
        self._asked.append(self.name)
        self.erased.append(subject)
        count, self.things = len(self.things), []
        return {"decisions": count, "nothing": 0}

    async def _nothing(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        return [], ""

    async def _page(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        start = int(after or 0)
        page = self.things[start : start + limit]
        return page, str(start + limit) if start + limit < len(self.things) else ""

    async def come(self) -> None:
        """Serve, on the same port each time."""
        self.server = Server([personal_data.mounted(self, self.dead_letters)], self.callers)
        self.port = await self.server.start(f"127.0.0.1:{self.port}")
        await self.server.set_serving(True)

    async def go(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    async def bury(self, profile_id: str) -> None:
        """Keep a dead letter about a profile."""
        subject = subject_of(MessageSettled, "shop", 0, profile_id)
        await self.dead_letters.add([Letter("test", subject, b"\xff", "INVALID_FIELD: no message")])


class Others:
    def __init__(self, holders: Sequence[Holder], asked: list[str]) -> None:
        self.by_name = {holder.name: holder for holder in holders}
        self.asked = asked
        """Who was asked to erase, in order."""

    def __getitem__(self, name: str) -> Holder:
        return self.by_name[name]

    def targets(self) -> dict[str, str]:
        return {name: f"127.0.0.1:{holder.port}" for name, holder in self.by_name.items()}

    def hold(self, count: int) -> None:
        """Let each hold so many things."""
        for holder in self.by_name.values():
            holder.things = [Decision(workspace_id="shop", decision_id=f"{holder.name}-{n}") for n in range(count)]


@asynccontextmanager
async def others(directory: Path) -> AsyncIterator[Others]:
    """All three, serving; their dead letters are in `directory`."""
    asked: list[str] = []
    async with AsyncExitStack() as exits:
        holders = []
        for name in OTHERS:
            database = await open_database(uri="", path=directory / f"{name}.db", name=name)
            exits.push_async_callback(database.close)
            await database.migrate([DEAD_LETTERS])
            holder = Holder(name, asked, DeadLetters(database.collection(DEAD_LETTERS), FakeClock()))
            await holder.come()
            exits.push_async_callback(holder.go)
            holders.append(holder)
        yield Others(holders, asked)
