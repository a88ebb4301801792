"""The example of a page that asks who is looking at it, against the services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from camino.client.sync import connect

from cli.documents import Parser
from examples.personalisation import server
from services.chassis.testing import eventually
from tests.house import WORKSPACE, House, house

SEGMENTS = Path(server.__file__).with_name("segments.yaml")


@contextmanager
def shop(segment: str) -> Iterator[str]:
    """The shop's page, and where it is."""
    with connect(segment=segment) as client, server.server(client, WORKSPACE, port=0) as serving:
        thread = Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/banner"
        finally:
            serving.shutdown()
            thread.join()


async def shown(url: str, **asked: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in asked.items())

    def get() -> str:
        with urlopen(f"{url}?{query}", timeout=10) as reply:
            return str(json.load(reply)["banner"])

    return await asyncio.to_thread(get)


async def published(services: House) -> None:
    parser = Parser(WORKSPACE)
    parser.read(SEGMENTS.name, SEGMENTS.read_text())
    assert parser.problems == []
    for document in parser.documents:
        await services.segments.PublishSegment(document.request)


async def test_a_page_shows_what_suits_who_is_looking_and_what_is_in_the_cart(tmp_path: Path) -> None:
    async with house(tmp_path) as services:
        await published(services)
        ana = await services.person("ana", country="PT")
        for _ in range(2):
            await services.event("ana", "purchase")
        with shop(services.addresses["segment"]) as url:

            async def known() -> bool:
                return await shown(url, visitor=ana, cart_value="80") == server.BANNERS["nearly-there"]

            await eventually(known)
            assert await shown(url, visitor=ana, cart_value="49.5") == server.PLAIN
            assert await shown(url, visitor=ana, country="ES") == server.BANNERS["spanish-speaking"]
            assert await shown(url, visitor=ana, country="ES", cart_value="80") == server.BANNERS["nearly-there"]
            # Somebody that nobody knows yet is where they are.
            assert await shown(url, visitor="somebody", country="MX", cart_value="80") == "Bienvenidos"
            with pytest.raises(HTTPError, match="400"):
                await shown(url, visitor=ana, cart_value="much")


async def test_a_page_does_not_wait_for_its_banner() -> None:
    with shop("127.0.0.1:1") as url:
        assert await shown(url, visitor="ana", country="ES") == server.PLAIN
