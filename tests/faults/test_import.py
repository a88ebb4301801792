"""An import that is killed, or asked to end, in the middle: the next run goes on, and every event counts once."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from camino.client import connect, pages
from camino.profile.v1 import profile_service_pb2 as wire

from cli.stack import ROOT
from services.chassis.loops import Running
from services.chassis.server import Server
from services.chassis.testing import FakeClock, eventually
from services.profile.app import ProfileConfig, build
from tests.servers import NatsServer, nats_server

ROWS = 9_000
CALLS_ANSWERED = 6
BAD_ROWS = (3, 2_000, 8_999)
TOLD = r"([0-9,]+) taken, ([0-9,]+) duplicates, ([0-9,]+) rejected"


class Gate:
    """The service, which answers a few calls; the others are carried out, and answered when the gate opens."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._calls = 0
        self.open = asyncio.Event()
        self.held = asyncio.Event()

    async def IngestEvents(self, request: wire.IngestEventsRequest, context: Any) -> wire.IngestEventsResponse:
        self._calls += 1
        waits = self._calls > CALLS_ANSWERED
        reply: wire.IngestEventsResponse = await self._service.IngestEvents(request, context)
        if waits:
            self.held.set()
            await self.open.wait()
        return reply

    def __getattr__(self, name: str) -> Any:
        """All other methods."""
        return getattr(self._service, name)


@dataclass
class Shop:
    target: str
    gate: Gate

    async def begin(self, file: Path) -> asyncio.subprocess.Process:
        mapping = ["--identity", "customer_id=who", "--type", "purchase", "--property", "value:number"]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cli.main", "import", "events", file, *mapping),
            cwd=ROOT,
            env={**os.environ, "CAMINO_PROFILE_TARGET": self.target, "CAMINO_WORKSPACE": "shop"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def bought(self) -> dict[str, list[float]]:
        """What everyone has bought, by their number."""
        async with connect(profile=self.target) as client:
            request = wire.ListProfilesRequest(workspace_id="shop", page_size=1000)
            people = [person async for person in pages(client.profiles.ListProfiles, request)]

            async def values(profile_id: str) -> list[float]:
                asked = wire.ListEventsRequest(workspace_id="shop", profile_id=profile_id)
                return [
                    each.properties["value"].double_value async for each in pages(client.profiles.ListEvents, asked)
                ]

            found = {}
            for start in range(0, len(people), 500):
                some = people[start : start + 500]
                lists = await asyncio.gather(*(values(person.profile_id) for person in some))
                found.update((person.identities[0].value, each) for person, each in zip(some, lists, strict=True))
            return found


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@asynccontextmanager
async def shop(nats: NatsServer, directory: Path) -> AsyncIterator[Shop]:
    config = ProfileConfig(nats_url=nats.url, data_dir=directory, partitions=2, migrate_on_start=True)
    async with build(config, FakeClock()) as app:
        gates = {mount.service: Gate(mount.servicer) for mount in app.mounted if "ProfileService" in mount.service}
        [gate] = gates.values()
        server = Server([replace(mount, servicer=gates.get(mount.service, mount.servicer)) for mount in app.mounted])
        port = await server.start("127.0.0.1:0")
        running = Running(app.loops)
        try:
            yield Shop(f"127.0.0.1:{port}", gate)
        finally:
            gate.open.set()
            await server.stop(0)
            await running.stop(5)


def purchases(file: Path) -> None:
    """Three hundred people buy in turn, and some rows are wrong."""
    rows = [f"{number % 300},{'x' if number in BAD_ROWS else number}" for number in range(ROWS)]
    file.write_text("\n".join(["who,value", *rows]))


def is_all_there(bought: dict[str, list[float]]) -> None:
    expected = {
        str(who): [float(number) for number in range(who, ROWS, 300) if number not in BAD_ROWS] for who in range(300)
    }
    assert {who: sorted(values) for who, values in bought.items()} == expected


def rejected_lines(file: Path) -> list[int]:
    return [json.loads(line)["line"] for line in Path(f"{file}.rejects.ndjson").read_text().splitlines()]


async def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(nats: NatsServer, tmp_path: Path):
    (tmp_path / "profile").mkdir()
    file = tmp_path / "purchases.csv"
    state = tmp_path / "purchases.csv.camino-import"
    purchases(file)

    async def half_way() -> bool:
        return state.exists() and json.loads(state.read_text())["counts"]["taken"] > 0

    async with shop(nats, tmp_path / "profile") as at:
        child = await at.begin(file)
        await asyncio.wait_for(at.gate.held.wait(), 60)
        await eventually(half_way, within_s=30)
        child.kill()
        await child.communicate()
        at.gate.open.set()
        done = json.loads(state.read_text())["counts"]
        child = await at.begin(file)
        said, _ = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 1, said.decode()
        before = sum(done.values())
        assert f"going on at line {before + 2:,}: {before:,} rows were done before" in said.decode()
        # What had been carried out and not answered was sent again, to no effect.
        taken, duplicates, rejected = told(said.decode())
        assert duplicates > 0
        assert (taken + duplicates, rejected) == (ROWS - len(BAD_ROWS), len(BAD_ROWS))
        assert rejected_lines(file) == [number + 2 for number in BAD_ROWS]
        assert not state.exists()
        is_all_there(await at.bought())


def told(said: str) -> tuple[int, ...]:
    """How many were taken, duplicates, rejected, by the last line that says it."""
    return tuple(int(number.replace(",", "")) for number in re.findall(TOLD, said)[-1])


def kept(state: Path) -> int:
    """How many were taken, by the checkpoint."""
    return int(json.loads(state.read_text())["counts"]["taken"])


@pytest.mark.parametrize(("asked", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_asked_to_end_it_waits_for_what_is_under_way(
    nats: NatsServer, tmp_path: Path, asked: signal.Signals, status: int
):
    (tmp_path / "profile").mkdir()
    file = tmp_path / "purchases.csv"
    purchases(file)
    async with shop(nats, tmp_path / "profile") as at:
        child = await at.begin(file)
        await asyncio.wait_for(at.gate.held.wait(), 60)
        child.send_signal(asked)
        at.gate.open.set()
        said, _ = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == status, said.decode()
        assert "stopped: as you asked" in said.decode()
        assert 0 < kept(tmp_path / "purchases.csv.camino-import") < ROWS - len(BAD_ROWS)
        child = await at.begin(file)
        said, _ = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 1, said.decode()
        # Nothing was left in doubt.
        assert told(said.decode()) == (ROWS - len(BAD_ROWS), 0, len(BAD_ROWS))
        assert rejected_lines(file) == [number + 2 for number in BAD_ROWS]
        is_all_there(await at.bought())


async def test_a_pipe_with_nothing_in_it_holds_nobody_up(tmp_path: Path):
    reading, writing = os.pipe()
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cli.main", "import", "events", "-", "--format", "ndjson", "--profile-target", "127.0.0.1:1"),
            *("--rejects", tmp_path / "rejects"),
            cwd=ROOT,
            stdin=reading,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

        async def is_read() -> bool:
            [waiting] = struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, bytes(4)))
            return bool(waiting == 0)

        os.write(writing, b"{\n")
        await eventually(is_read, within_s=30)
        child.terminate()
        said, _ = await asyncio.wait_for(child.communicate(), 30)
    finally:
        os.close(reading)
        os.close(writing)
    assert child.returncode == 143, said.decode()
    assert told(said.decode()) == (0, 0, 1)
    assert json.loads((tmp_path / "rejects").read_text())["line"] == 1
