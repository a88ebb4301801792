"""The profile service as its callers see it: over gRPC, on a real broker and the embedded store."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL

from services.chassis.clock import MINUTE, SECOND
from services.chassis.testing import FakeClock, eventually
from tests.served_people import DUPLICATE, FAILED, OK, ServedPeople, event, person, serving_people
from tests.servers import nats_server


async def test_a_profile_is_found_by_any_of_its_identities(people: ServedPeople) -> None:
    [first] = await people.profiles(person("email: Ana@Example.com", "user:1", name="Ana"))
    [second] = await people.profiles(person("user:1", "phone:+34 911 23 45 67", city="Madrid"))
    assert (first.outcome, second.outcome) == (OK, OK)
    assert first.profile_id == second.profile_id
    for namespace, value in (("email", "ANA@example.com"), ("user", "1"), ("phone", "+34911234567")):
        found = await people.profile(identity=profile_pb2.Identity(namespace=namespace, value=value))
        assert found.profile_id == first.profile_id
        assert {name: held.value.string_value for name, held in found.attributes.items()} == {
            "name": "Ana",
            "city": "Madrid",
        }
    assert len(await people.everybody()) == 1


async def test_the_same_items_again_change_nothing(people: ServedPeople) -> None:
    item = person("email:ana@example.com", name="Ana")
    item.attributes["name"].observed_at.seconds = 1_700_000_000
    [first] = await people.profiles(item)
    before = await people.profile(profile_id=first.profile_id)
    people.clock.advance(MINUTE)
    assert [result.profile_id for result in await people.profiles(item, item)] == [first.profile_id] * 2
    assert await people.profile(profile_id=first.profile_id) == before


async def test_items_of_one_batch_see_each_other(people: ServedPeople) -> None:
    results = await people.profiles(
        person("user:1"), person("user:2"), person("user:1", "email:ana@example.com"), person("email:ana@example.com")
    )
    assert [result.outcome for result in results] == [OK] * 4
    one, two, three, four = (result.profile_id for result in results)
    assert one == three == four != two


async def test_bad_items_fail_alone_with_the_field(people: ServedPeople) -> None:
    late = person("user:late", name="x")
    late.attributes["name"].observed_at.seconds = people.clock.now() // SECOND + 3600
    results = await people.profiles(
        person("user:1"),
        person("email:nobody"),
        pb.ProfileInput(identities=[profile_pb2.Identity(namespace="user", value="z")], time_zone="Mars/Olympus"),
        late,
        pb.ProfileInput(),
        person(*(f"user:{number}" for number in range(100, 151))),
    )
    assert [result.outcome for result in results] == [OK] + [FAILED] * 5
    assert [result.error.field for result in results] == [
        "",
        "identities[0].value",
        "time_zone",
        'attributes["name"].observed_at',
        "identities",
        "identities",
    ]
    assert all(result.error.reason == reason_pb2.REASON_INVALID_FIELD for result in results[1:])
    assert len(await people.everybody()) == 1


async def test_beyond_a_limit_nothing_of_the_item_is_taken(people: ServedPeople) -> None:
    await people.profiles(person(*(f"user:{number}" for number in range(50))))
    [result] = await people.profiles(person("user:0", "user:50", name="Ana"))
    assert (result.outcome, result.error.reason) == (FAILED, reason_pb2.REASON_PROFILE_LIMIT)
    [profile] = await people.everybody()
    assert len(profile.identities) == 50
    assert not profile.attributes
    # The identity that was refused is nobody's.
    [other] = await people.profiles(person("user:50"))
    assert other.profile_id not in ("", profile.profile_id)


def _with_name(name: str) -> pb.ProfileInput:
    item = person("user:a")
    item.attributes[name].value.bool_value = True
    return item


def _at(seconds: int) -> pb.ProfileInput:
    item = person("user:a", name="x")
    item.attributes["name"].observed_at.seconds = seconds
    return item


def _value_at(seconds: int) -> pb.ProfileInput:
    item = person("user:a")
    item.attributes["born"].value.timestamp_value.seconds = seconds
    return item


@pytest.mark.parametrize(
    "poison",
    [person("user:a\0b"), _with_name("a\0b"), _at(-(2**62)), _value_at(2**62), _value_at(-(2**62))],
    ids=["identity", "attribute name", "observed at", "timestamp", "early timestamp"],
)
async def test_what_no_store_can_hold_fails_alone(people: ServedPeople, poison: pb.ProfileInput) -> None:
    results = await people.profiles(person("user:1"), poison)
    assert [result.outcome for result in results] == [OK, FAILED]
    assert results[1].error.reason == reason_pb2.REASON_INVALID_FIELD
    assert results[1].error.field


def _occurred(seconds: int) -> pb.EventInput:
    item = event("e2")
    item.occurred_at.seconds = seconds
    return item


def _property(name: str) -> pb.EventInput:
    item = event("e2")
    item.properties[name].double_value = 1
    return item


@pytest.mark.parametrize(
    "poison",
    [event("a\0b"), event("e2", "user:a\0b"), _occurred(-(2**62)), _property("a\0b")],
    ids=["event id", "identity", "occurred at", "property"],
)
async def test_events_that_no_store_can_hold_fail_alone(people: ServedPeople, poison: pb.EventInput) -> None:
    results = await people.events(event("e1"), poison)
    assert [result.outcome for result in results] == [OK, FAILED]
    assert results[1].error.reason == reason_pb2.REASON_INVALID_FIELD
    assert results[1].error.field


async def test_an_event_makes_the_profile_it_needs(people: ServedPeople) -> None:
    [result] = await people.events(event("e1"))
    assert result.outcome == OK
    found = await people.profile(identity=profile_pb2.Identity(namespace="email", value="ana@example.com"))
    assert found.profile_id == result.profile_id
    request = pb.ListEventsRequest(workspace_id="shop", profile_id=result.profile_id)
    assert [found.event_id for found in (await people.stub.ListEvents(request)).events] == ["e1"]


async def test_an_event_that_was_seen_has_no_second_effect(people: ServedPeople) -> None:
    [first] = await people.events(event("e1"))
    people.clock.advance(365 * 24 * 60 * MINUTE)
    again = await people.events(event("e1", "user:other", "refund"), event("e2"), event("e2"))
    assert [result.outcome for result in again] == [DUPLICATE, OK, DUPLICATE]
    assert again[0].profile_id == first.profile_id
    [elsewhere] = await people.events(event("e1"), workspace="other")
    assert elsewhere.outcome == OK

    async def published() -> bool:
        return await people.published_events() == {"e1": 2, "e2": 1}

    await eventually(published)


async def test_an_event_that_was_seen_makes_nobody_whomever_it_names(people: ServedPeople) -> None:
    [first] = await people.events(event("e1"))
    [again] = await people.events(event("e1", "email:bo@example.com"))
    assert (again.outcome, again.profile_id) == (DUPLICATE, first.profile_id)
    assert len(await people.everybody()) == 1


async def test_of_several_events_with_one_id_the_first_that_can_be_taken_is(people: ServedPeople) -> None:
    nobody = pb.EventInput(event_id="e1", type="purchase", profile_id="nobody")
    refused, taken, *repeats = await people.events(
        nobody, event("e1"), event("e1", "email:bo@example.com"), *[event("e1", f"user:{n}") for n in range(900)]
    )
    assert refused.error.reason == reason_pb2.REASON_NOT_FOUND
    assert taken.outcome == OK
    assert {(result.outcome, result.profile_id) for result in repeats} == {(DUPLICATE, taken.profile_id)}
    assert len(await people.everybody()) == 1


async def test_of_consents_about_one_thing_the_newest_holds_however_they_are_listed(people: ServedPeople) -> None:
    item = person("email:ana@example.com")
    for state, at in ((profile_pb2.CONSENT_STATE_OPTED_OUT, 200), (profile_pb2.CONSENT_STATE_OPTED_IN, 100)):
        item.consents.add(channel=CHANNEL_EMAIL, topic="news", state=state).changed_at.seconds = at
    await people.profiles(item)
    [known] = await people.everybody()
    assert [consent.state for consent in known.consents] == [profile_pb2.CONSENT_STATE_OPTED_OUT]


async def test_an_event_of_nobody_and_one_too_large_fail_alone(people: ServedPeople) -> None:
    large = event("large")
    for number in range(20):
        large.properties[f"p{number}"].string_value = "x" * 4000
    results = await people.events(
        pb.EventInput(event_id="lost", type="purchase", profile_id="p404"), large, event("e1")
    )
    assert [result.outcome for result in results] == [FAILED, FAILED, OK]
    assert results[0].error.reason == reason_pb2.REASON_NOT_FOUND
    assert results[1].error.reason == reason_pb2.REASON_EVENT_TOO_LARGE
    # What was refused was not seen: it can be sent again once it's mended.
    assert [r.outcome for r in await people.events(event("lost"), event("large"))] == [OK, OK]


async def test_a_change_is_published_before_the_events_that_follow_it(people: ServedPeople) -> None:
    await people.profiles(person("email:ana@example.com", name="Ana"))
    await people.events(event("e1"))

    async def both() -> list[ProfileChanged] | None:
        found = await people.published()
        return found if len(found) >= 2 else None

    changes = await eventually(both)
    assert [change.event.event_id for change in changes] == ["", "e1"]
    assert all(change.profile.attributes["name"].value.string_value == "Ana" for change in changes)


async def test_the_same_batch_from_many_at_once_is_one_profile_per_person(people: ServedPeople) -> None:
    everyone = [person(f"email:p{number}@example.com", f"user:{number}") for number in range(20)]
    answers = await asyncio.gather(*(people.profiles(*everyone) for _ in range(8)))
    assert all(result.outcome == OK for results in answers for result in results)
    for number in range(20):
        assert len({results[number].profile_id for results in answers}) == 1
    assert len(await people.everybody()) == 20


async def test_people_who_are_told_of_in_parts_by_many_at_once_stay_one(people: ServedPeople) -> None:
    """Some callers know one identity, some another, some both."""
    for number in range(10):
        email, user = f"email:p{number}@example.com", f"user:{number}"
        answers = await asyncio.gather(
            people.profiles(person(user)),
            *(people.profiles(person(email, user)) for _ in range(3)),
            people.events(event(f"e{number}", user)),
        )
        assert [result.outcome for [result] in answers] == [OK] * 5, answers
        assert len({result.profile_id for [result] in answers}) == 1
    assert len(await people.everybody()) == 10


async def test_events_from_many_at_once_are_taken_once_and_published_once(people: ServedPeople) -> None:
    batch = [event(f"e{number}", f"user:{number % 5}") for number in range(40)]
    answers = await asyncio.gather(*(people.events(*batch) for _ in range(8)))
    for number in range(40):
        outcomes = Counter(results[number].outcome for results in answers)
        assert outcomes == {OK: 1, DUPLICATE: 7}
        assert len({results[number].profile_id for results in answers}) == 1
    assert len(await people.everybody()) == 5

    async def published() -> bool:
        return await people.published_events() == Counter(f"e{number}" for number in range(40))

    await eventually(published)
    people.clock.advance(MINUTE)  # the sweeps have nothing left to do
    assert await people.published_events() == Counter(f"e{number}" for number in range(40))


async def test_what_was_taken_while_the_broker_was_away_is_published_when_it_is_back(tmp_path: Path) -> None:
    with nats_server() as server:
        (data := tmp_path / "data").mkdir()
        async with serving_people(server, data) as people:
            await people.events(event("before"))
            server.kill()
            results = await people.events(*(event(f"e{number}") for number in range(10)))
            assert [result.outcome for result in results] == [OK] * 10
            server.start()
            expected = {"before", *(f"e{number}" for number in range(10))}

            async def published() -> bool:
                return people.broker.connected and set(await people.published_events()) == expected

            await eventually(published, within_s=30)


async def test_what_a_dead_service_had_not_published_the_next_one_does(tmp_path: Path) -> None:
    with nats_server() as server:
        (data := tmp_path / "data").mkdir()
        clock = FakeClock()
        async with serving_people(server, data, clock) as people:
            server.kill()
            await people.events(event("e1"))
        server.start()
        died = clock.now()
        async with serving_people(server, data, clock) as people:

            async def published() -> bool:
                clock.advance(SECOND // 10)
                return await people.published_events() == {"e1": 1}

            await eventually(published)
            assert clock.now() - died < 5 * SECOND  # soon, not when the sweep is due


async def test_pages_follow_each_other_to_the_end(people: ServedPeople) -> None:
    await people.profiles(*(person(f"user:{number}") for number in range(25)))
    seen, token = [], ""
    while True:
        request = pb.ListProfilesRequest(workspace_id="shop", page_size=10, page_token=token)
        response = await people.stub.ListProfiles(request)
        assert response.total_size == 25
        seen += [profile.profile_id for profile in response.profiles]
        token = response.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen)
    assert await people.everybody("other") == []
