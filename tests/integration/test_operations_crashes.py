"""A replica that is killed between any two things that it writes while it erases or exports somebody: whoever comes
next goes on, and in the end it's all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from camino.profile.v1 import operation_service_pb2 as ops
from camino.profile.v1.operation_pb2 import OPERATION_STATE_DONE

from services.chassis.clock import MINUTE
from services.profile.operations import exporting, exports
from tests.operating import IMMORTAL, MARK, World, peopled, worlds_at
from tests.people import Replica
from tests.servers import NatsServer, nats_server
from tests.torn import Life


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def worlds(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[World]]]:
    async with worlds_at(nats, tmp_path) as fresh:
        yield fresh


async def test_an_erasure_goes_on_wherever_it_is_killed(worlds: Callable[[], Awaitable[World]]) -> None:
    request = ops.EraseProfileRequest(workspace_id="w")

    async def begin(servicer: Any) -> None:
        await servicer.EraseProfile(request, None)

    deaths = 0
    while True:
        world = await worlds()
        profile_id = await peopled(world)
        assert len(await world.left()) > 5
        request.profile_id = profile_id
        life = Life(deaths)
        await world.go_on(life, begin)
        if not life.dead:
            break
        assert await world.identities_have_profiles(), f"after {deaths} writes"
        # What wasn't begun is asked for again.
        await world.go_on(Life(IMMORTAL), None if await world.operation() else begin)
        operation = await world.operation()
        assert operation is not None
        assert operation.state == OPERATION_STATE_DONE, f"after {deaths} writes: {operation}"
        assert [receipt.service for receipt in operation.receipts] == ["orchestrator", "segment", "channels", "profile"]
        assert await world.left() == [], f"after {deaths} writes"
        assert list(dict.fromkeys(world.others.asked)) == ["orchestrator", "segment", "channels"]
        # Bea's are all that is left.
        assert await world.facts() == {"ProfileChanged": 1, "ProfileErased": 1}, f"after {deaths} writes"
        [bea] = (await world.store.profiles.query("by_workspace", "w", limit=10)).documents
        assert bea.body["attributes"]["name"][0] == "Bea"
        again = await Replica(world.store, world.clock).tell(f"crm:{MARK}-1", "phone:+34911234567")
        assert not again.HasField("error"), again
        assert again.profile_id != profile_id
        deaths += 1
    assert deaths > 20


async def test_an_export_goes_on_wherever_it_is_killed(
    worlds: Callable[[], Awaitable[World]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (exporting, exports):
        monkeypatch.setattr(module, "PART_BYTES", 400)
    whole = await worlds()
    request = ops.ExportProfileRequest(workspace_id="w", request_id="r", profile_id=await peopled(whole))

    async def begin(servicer: Any) -> None:
        await servicer.ExportProfile(request, None)

    await whole.go_on(Life(IMMORTAL), begin)
    done = await whole.operation()
    assert done is not None
    document = await whole.document(done)
    sections = ("profile", "orchestrator", "segment", "channels", "profile_service")
    shape = {name: {kind: len(of) for kind, of in document[name].items()} for name in sections}
    deaths = 0
    while True:
        world = await worlds()
        request.profile_id = await peopled(world)
        life = Life(deaths)
        await world.go_on(life, begin)
        if not life.dead:
            break
        await world.go_on(Life(IMMORTAL), begin)
        operation = await world.operation()
        assert operation is not None
        assert operation.state == OPERATION_STATE_DONE
        again = await world.document(operation)
        for name in sections:
            assert {kind: len(of) for kind, of in again[name].items()} == shape[name]
        deaths += 1
    assert deaths > 10


async def test_what_hung_over_the_end_is_found_later(worlds: Callable[[], Awaitable[World]]) -> None:
    world = await worlds()
    profile_id = await peopled(world)
    request = ops.EraseProfileRequest(workspace_id="w", profile_id=profile_id)
    [late] = (await world.store.events.query("by_profile", f"w/{profile_id}", limit=1)).documents
    await world.go_on(Life(IMMORTAL), lambda servicer: servicer.EraseProfile(request, None))
    operation = await world.operation()
    assert operation is not None
    assert operation.state == OPERATION_STATE_DONE
    # Somebody who had seen the profile before it was marked writes what was told of it, and whose an identity is.
    late.rev, late.id, late.body["properties"] = 0, "w/late", {"of": MARK}
    await world.store.events.put([late])
    late.rev, late.id, late.body = 0, f"w/card:{MARK}", {"profile_id": profile_id}
    await world.store.identities.put([late])
    assert len(await world.left()) == 2
    world.clock.advance(5 * MINUTE)
    await world.go_on(Life(IMMORTAL))
    assert await world.left() == []
