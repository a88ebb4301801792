"""The same stack on a MongoDB and a broker of somebody else's, by configuration alone."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.fixture import measured
from tests.servers import nats_server, secantusd

PEOPLE = 100


async def test_mongodb_and_an_external_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    with secantusd() as mongodb_uri, nats_server() as nats:
        monkeypatch.setenv("MONGODB_URI", mongodb_uri)
        monkeypatch.setenv("NATS_URL", nats.url)
        async with measured() as stack:
            assert "nats" not in stack.processes
            await stack.people("real", PEOPLE)
            await stack.publish("real")
            await stack.events("real", "p", range(PEOPLE), "purchase")
            await stack.members("real", PEOPLE)
            await stack.events("real", "s", range(PEOPLE), "signup")
            await stack.events("real", "s", range(PEOPLE), "signup")
            await stack.campaign("real")
            await stack.wait_accepted(2 * PEOPLE)
            found = Counter(message["to"] for message in stack.taken())
            assert found == {f"real-{number}@example.com": 2 for number in range(PEOPLE)}
            assert not any(path.suffix == ".db" for path in stack.stack.data.iterdir())
