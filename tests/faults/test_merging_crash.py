"""kill -9 of services while people turn out to be one: nobody half merged, no event lost, everybody in the segment that
they belong to, and whoever follows that told so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from camino.client import connect
from camino.profile.v1 import profile_service_pb2 as pb
from camino.segment.v1 import segment_service_pb2

from bench.fixture import Measured, measured
from examples.audience.audience import Audience
from services.chassis.testing import eventually
from tests.faults.retrying import retried

WORKSPACE = "merging"
PEOPLE, DEVICES = 24, 4


def device(person: int, number: int) -> tuple[str, str]:
    return "device_id", f"{person}-{number}"


async def visits(stack: Measured, person: int, number: int) -> str:
    """An event of one of a person's devices, which nobody knows to be hers yet. Only the first device ever buys."""
    request = pb.IngestEventsRequest(workspace_id=WORKSPACE)
    event = request.events.add(event_id=f"e-{person}-{number}", type="view" if number else "purchase")
    event.identity.namespace, event.identity.value = device(person, number)
    [result] = (await retried(lambda: stack.profiles.IngestEvents(request))).results
    assert result.profile_id, result
    return result.profile_id


async def told(stack: Measured, names: Sequence[tuple[str, str]]) -> str:
    request = pb.IngestProfilesRequest(workspace_id=WORKSPACE)
    item = request.profiles.add()
    for namespace, value in names:
        item.identities.add(namespace=namespace, value=value)
    [result] = (await retried(lambda: stack.profiles.IngestProfiles(request))).results
    assert result.profile_id, result
    return result.profile_id


@pytest.mark.parametrize("victims", [("profile",), ("segment", "profile")], ids="-".join)
async def test_people_turn_out_to_be_one_wholly(victims: Sequence[str]) -> None:
    chance = random.Random(1)
    async with measured() as stack:
        await stack.publish(WORKSPACE)
        audience = Audience(":memory:")
        following = asyncio.create_task(follow(stack, audience))
        tasks = [(person, number) for person in range(PEOPLE) for number in range(DEVICES)]
        chance.shuffle(tasks)
        ids = {person: set[str]() for person in range(PEOPLE)}

        async def person_of(person: int, number: int) -> None:
            ids[person].add(await visits(stack, person, number))
            other = chance.randrange(DEVICES)
            ids[person].add(await told(stack, [device(person, number), device(person, other)]))
            ids[person].add(await told(stack, [("user_id", str(person)), device(person, number)]))

        gate = asyncio.Semaphore(8)

        async def one(person: int, number: int) -> None:
            async with gate:
                await person_of(person, number)

        async def killing() -> None:
            for round_ in range(3):
                await asyncio.sleep(0.3)
                victim = victims[round_ % len(victims)]
                stack.stack.kill(victim)
                stack.stack.start_one(victim)
                await asyncio.to_thread(stack.stack.wait_serving)

        await asyncio.gather(killing(), *(one(*task) for task in tasks))

        survivors = {}
        for person, known in ids.items():
            got = {(await get(stack, id_)).profile_id for id_ in known}
            assert len(got) == 1, f"person {person}: {known} are {got}"
            [survivors[person]] = got
            profile = await get(stack, survivors[person])
            names = {(identity.namespace, identity.value) for identity in profile.identities}
            assert names == {("user_id", str(person)), *(device(person, number) for number in range(DEVICES))}
            events = await stack.profiles.ListEvents(
                pb.ListEventsRequest(workspace_id=WORKSPACE, profile_id=survivors[person])
            )
            assert {event.event_id for event in events.events} == {f"e-{person}-{n}" for n in range(DEVICES)}
        listed = await stack.profiles.ListProfiles(pb.ListProfilesRequest(workspace_id=WORKSPACE, page_size=1000))
        assert {profile.profile_id for profile in listed.profiles} == set(survivors.values())

        async def members() -> bool:
            request = segment_service_pb2.ListMembersRequest(workspace_id=WORKSPACE, segment_id="bought")
            listed = await retried(lambda: stack.segments.ListMembers(request))
            return set(listed.profile_ids) == set(survivors.values())

        await eventually(members, within_s=30)

        # Who has followed all along, over streams that were cut, knows it too.
        async def copied() -> bool:
            assert not following.done(), following
            known_ids = set[str]().union(*ids.values())
            return {id_ for id_ in known_ids if "bought" in audience.segments_of(id_)} == set(survivors.values())

        await eventually(copied, within_s=30)
        following.cancel()


async def follow(stack: Measured, audience: Audience) -> None:
    async with connect(segment=stack.stack.target("segment")) as client:
        async for anew, response in client.watch_memberships(WORKSPACE, ["bought"], cursor=audience.cursor):
            audience.take(anew, response)


async def get(stack: Measured, profile_id: str):  # type: ignore[no-untyped-def]
    request = pb.GetProfileRequest(workspace_id=WORKSPACE, profile_id=profile_id)
    return (await retried(lambda: stack.profiles.GetProfile(request))).profile
