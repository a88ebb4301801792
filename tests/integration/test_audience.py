"""The example of a decision engine that keeps its own copy of who is in which segment, against the services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

from camino.client import CaminoError
from camino.client.sync import connect

from examples.audience import engine
from examples.audience.audience import Audience
from services.chassis.testing import eventually
from tests.house import WORKSPACE, house

BOUGHT = {"event": {"eventType": "purchase", "count": {"atLeast": 1}}}
RETURNED = {"event": {"eventType": "return", "count": {"atLeast": 1}}}
LOYAL, LAPSED = engine.OFFERS.values()


@contextmanager
def deciding(segment: str, file: Path) -> Iterator[str]:
    """The engine on its file, and where it answers."""
    with closing(Audience(str(file))) as audience, engine.server(audience, port=0) as serving:
        client = connect(segment=segment)

        def follow() -> None:
            # It ends with its channel.
            with suppress(CaminoError, ValueError):
                engine.follow(client, audience, WORKSPACE)

        threads = [Thread(target=follow), Thread(target=serving.serve_forever, args=(0.01,))]
        for thread in threads:
            thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/offer"
        finally:
            client.close()
            serving.shutdown()
            for thread in threads:
                thread.join()


async def offered(url: str, visitor: str) -> str:
    def get() -> str:
        with urlopen(f"{url}?visitor={visitor}", timeout=10) as reply:
            return str(json.load(reply)["offer"])

    return await asyncio.to_thread(get)


async def comes(url: str, visitor: str, offer: str) -> None:
    async def probe() -> bool:
        return await offered(url, visitor) == offer

    await eventually(probe)


async def test_an_engine_decides_on_its_own_copy_and_goes_on_where_that_is(tmp_path: Path) -> None:
    file = tmp_path / "audience.db"
    async with house(tmp_path) as services:
        await services.segment("loyal", BOUGHT, members=0)
        await services.segment("lapsed", RETURNED, members=0)
        ana, bo = await services.person("ana"), await services.person("bo")
        await services.event("ana", "purchase")
        address = services.addresses["segment"]
        with deciding(address, file) as url:
            await comes(url, ana, LOYAL)
            assert await offered(url, bo) == engine.NONE
        await services.event("bo", "return")
        with deciding(address, file) as url:
            assert await offered(url, ana) == LOYAL
            await comes(url, bo, LAPSED)
            await services.event("bo", "purchase")
            await comes(url, bo, LOYAL)
    with deciding(address, file) as url:
        assert await offered(url, ana) == LOYAL
