"""Two who turn out to be one person while they walk a journey, in all four services at once."""

from __future__ import annotations

from pathlib import Path

from camino.orchestrator.v1 import journey_pb2
from camino.profile.v1 import profile_service_pb2

from services.chassis.clock import HOUR, SECOND
from tests.house import SEND, House, house

STEPS = [{"id": "rest", "next": "hello", "wait": {"duration": "3600s"}}, {"id": "hello", "send": SEND}]


async def link(home: House, *names: str) -> None:
    request = profile_service_pb2.LinkIdentitiesRequest(workspace_id=home.workspace)
    for name in names:
        request.identities.add(namespace="email", value=f"{name}@example.com")
    await home.profiles.LinkIdentities(request)


async def both_wait(home: House, **entry: str) -> tuple[str, str]:
    """Two people who are in the journey, and were linked then: their ids, the older one's first."""
    await home.template()
    await home.journey(STEPS, **entry)
    first = await home.person("ana")
    await home.event("ana", "signup")
    await home.run_at("rest")
    home.clock.advance(SECOND)
    second = await home.person("zoe")
    await home.event("zoe", "signup")

    async def inside() -> bool:
        return len(await home.runs()) == 2

    await home.until(inside)
    await link(home, "ana", "zoe")
    return first, second


async def ended(home: House) -> dict[str, int]:
    """The states of all runs, by their profile ids, once all have ended."""

    async def probe() -> dict[str, int] | None:
        states = {run.profile_id: run.state for run in await home.runs()}
        return None if journey_pb2.RUN_STATE_ACTIVE in states.values() else states

    found: dict[str, int] = await home.until(probe, step=SECOND)
    return found


async def test_one_of_them_goes_on_where_a_person_enters_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        first, second = await both_wait(home, reentry="REENTRY_ONCE")
        home.clock.advance(HOUR)
        assert await ended(home) == {first: journey_pb2.RUN_STATE_COMPLETED, second: journey_pb2.RUN_STATE_MERGED}
        assert await home.all_sent(1) == ["ana@example.com"]
        [decision] = await home.decided(second)
        assert [decision] == await home.decided(first)
        await home.event("zoe", "signup")
        home.clock.advance(2 * HOUR)
        # What is heard of after that is heard of later, too.
        other = await home.person("bea")
        await home.event("bea", "signup")
        await home.until(lambda: _entered(home, other))
        assert len(await home.runs()) == 3
        assert home.sent() == ["ana@example.com"]


async def test_both_go_on_for_the_survivor_where_each_event_counts(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        first, second = await both_wait(home)
        home.clock.advance(HOUR)
        assert set((await ended(home)).values()) == {journey_pb2.RUN_STATE_COMPLETED}
        assert await home.all_sent(2) == ["ana@example.com"] * 2
        assert sorted(one.profile_id for one in await home.decided(first)) == sorted([first, second])


async def _entered(home: House, profile_id: str) -> bool:
    return profile_id in {run.profile_id for run in await home.runs()}
