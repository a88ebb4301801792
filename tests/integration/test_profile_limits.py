"""How much is taken of one person and of one event; and that a multitude which points at one person stays cheap, and
leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL

from services.chassis.clock import SECOND
from services.chassis.stores import open_database
from services.profile.store import SCHEMAS
from tests.served_people import FAILED, OK, STREAM, ServedPeople, event, names, person, refusal, serving_people
from tests.servers import NatsServer

TOO_LARGE = reason_pb2.REASON_EVENT_TOO_LARGE
PROFILE_LIMIT = reason_pb2.REASON_PROFILE_LIMIT
ANA = "user_id:ana"


def sized(event_id: str, size: int) -> pb.EventInput:
    """An event of so many bytes."""
    item = event(event_id, ANA)
    for number in range(16):
        item.properties[f"p{number:02}"].string_value = "x" * 4000
    item.properties["rest"].string_value = "x" * 200
    item.properties["rest"].string_value += "x" * (size - item.ByteSize())
    assert item.ByteSize() == size
    return item


async def test_an_event_may_have_64_kib(people: ServedPeople) -> None:
    results = await people.events(sized("a", 65_536), sized("b", 65_537), event("c", ANA))
    assert [result.outcome for result in results] == [OK, FAILED, OK]
    assert (results[1].error.reason, results[1].error.field) == (TOO_LARGE, "properties")
    assert set(await people.event_ids(results[0].profile_id)) == {"a", "c"}


async def test_fields_that_nobody_knows_count_too(people: ServedPeople) -> None:
    data = event("poison", ANA).SerializeToString() + b"\xca\x3e\x80\x80\x04" + b"x" * 65_536
    [result] = await people.events(pb.EventInput.FromString(data))
    assert (result.error.reason, result.error.field) == (TOO_LARGE, "properties")
    assert await people.everybody() == []


async def full(people: ServedPeople) -> str:
    """Ana, who has 50 identities."""
    return await people.tell(person(ANA, *(f"card:{number}" for number in range(49))))


@pytest.mark.parametrize("known", [False, True], ids=["somebody new", "a merge"])
async def test_a_person_has_fifty_identities(people: ServedPeople, known: bool) -> None:
    await full(people)
    if known:
        await people.tell(person("device:x", name="Bo"))
    before = await people.everybody()
    results = await people.profiles(person(ANA, "device:x", name="Ana"), person("card:48", "device:x"))
    assert [(result.outcome, result.error.reason) for result in results] == [(FAILED, PROFILE_LIMIT)] * 2
    assert all("identities" in result.error.message for result in results)
    for call in (people.link(ANA, "device:x"), people.link("device:x", "card:1")):
        error = await refusal(call)
        assert (error.reason_name, error.status) == ("PROFILE_LIMIT", grpc.StatusCode.FAILED_PRECONDITION)
    assert await people.everybody() == before
    # By any it has, it's told of as before.
    assert await people.tell(person(ANA, "card:1", name="Ana"))


async def test_one_too_many_that_comes_from_somebody_else_leaves_both_as_they_were(people: ServedPeople) -> None:
    await full(people)
    await people.tell(person("user_id:bo", "device:x", ago=50))
    before = await people.everybody()
    [result] = await people.profiles(person(ANA, "device:x", ago=10))
    assert (result.outcome, result.error.reason) == (FAILED, PROFILE_LIMIT)
    assert await people.everybody() == before
    assert await people.whose("device:x") == (await people.who("user_id:bo")).profile_id


def with_identities(prefix: str) -> pb.ProfileInput:
    return person(f"card:{prefix}", *(f"{prefix}:{number}" for number in range(30)))


def with_attributes(prefix: str) -> pb.ProfileInput:
    return person(f"card:{prefix}", **{f"{prefix}{number}": "x" for number in range(300)})


def with_consents(prefix: str) -> pb.ProfileInput:
    item = person(f"card:{prefix}")
    for number in range(120):
        item.consents.add(channel=CHANNEL_EMAIL, topic=f"{prefix}{number}", state="CONSENT_STATE_OPTED_IN")
    return item


@pytest.mark.parametrize("half", [with_identities, with_attributes, with_consents])
async def test_profiles_that_would_hold_too_much_stay_as_they_were(
    people: ServedPeople, half: Callable[[str], pb.ProfileInput]
) -> None:
    ids = [await people.tell(half("a")), await people.tell(half("b"))]
    before = [await people.profile(profile_id=profile_id) for profile_id in ids]
    graphs = [await people.graph(profile_id=profile_id) for profile_id in ids]
    results = await people.profiles(person("card:a", "card:b", "card:c", name="Ana"), person("card:z"))
    assert [result.outcome for result in results] == [FAILED, OK]
    assert results[0].error.reason == PROFILE_LIMIT
    assert (await refusal(people.link("card:a", "card:b"))).reason_name == "PROFILE_LIMIT"
    assert [await people.profile(profile_id=profile_id) for profile_id in ids] == before
    assert [await people.graph(profile_id=profile_id) for profile_id in ids] == graphs
    assert await people.whose("card:c") == ""
    assert len(await people.everybody()) == 3


# --- a multitude that points at one -----------------------------------------------------------------------------------


async def documents(directory: Path) -> dict[str, list[str]]:
    """The ids of what is stored, by collection, of a service that is stopped."""
    database = await open_database(uri="", path=directory / "profile.db", name="profile")
    try:
        found = {schema.name: await database.collection(schema).scan(limit=5_000) for schema in SCHEMAS}
        return {name: [document.id for document in page.documents] for name, page in found.items()}
    finally:
        await database.close()


@pytest.mark.parametrize("known", [False, True], ids=["new ones", "people by themselves"])
async def test_of_a_multitude_that_points_at_one_as_many_are_taken_as_there_is_room_for(
    broker_of_people: NatsServer, tmp_path: Path, known: bool
) -> None:
    """In the time that one call has."""
    devices = [f"device:{number}" for number in range(300)]
    async with serving_people(broker_of_people, tmp_path) as people:
        ana = await people.tell(person(ANA))
        if known:
            people.clock.advance(SECOND)
            await people.tell(*(person(device, name=device) for device in devices))
        results = await people.profiles(*(person(ANA, device) for device in devices))
        outcomes = Counter((result.outcome, result.error.reason) for result in results)
        assert outcomes == {(OK, 0): 49, (FAILED, PROFILE_LIMIT): 251}
        profile = await people.who(ANA)
        assert profile.profile_id == ana
        assert len(profile.identities) == 50
        assert len(profile.merged_profile_ids) == (49 if known else 0)
        taken = {device for device, result in zip(devices, results, strict=True) if result.outcome == OK}
        assert set(names(profile.identities)) == {ANA, *taken}
        assert (await refusal(people.link(ANA, "device:yet another"))).reason_name == "PROFILE_LIMIT"
        out = next(device for device in devices if device not in taken)
        [with_another] = await people.profiles(person(ANA, out, "device:never told of alone"))
        assert (with_another.outcome, with_another.error.reason) == (FAILED, PROFILE_LIMIT)
        # Whoever was refused is somebody, when something is said of them.
        [event_of_refused] = await people.events(event("e1", "device:yet another"))
        assert event_of_refused.profile_id not in ("", ana)
        await people.broker.jetstream.delete_stream(STREAM)
    there = await documents(tmp_path)
    people_there = 301 if known else 1
    assert len(there["identities"]) == (301 if known else 50) + 1
    assert len(there["profiles"]) == people_there + 1
    assert len(there["records"]) == (49 if known else 0)
    assert there["joins"] == []
