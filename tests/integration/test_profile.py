"""The profile service as its callers see it: over gRPC, on a real broker and the embedded store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL

from services.chassis.broker import Broker
from services.chassis.clock import MINUTE, SECOND
from services.chassis.testing import FakeClock, eventually, serving
from services.profile.app import ProfileConfig, build
from tests.servers import NatsServer, nats_server

OK, DUPLICATE, FAILED = pb.ITEM_OUTCOME_OK, pb.ITEM_OUTCOME_DUPLICATE, pb.ITEM_OUTCOME_FAILED
STREAM = "CAMINO_PROFILE"


class Service:
    """The service, and what it published."""

    def __init__(self, stub: Any, broker: Broker, clock: FakeClock) -> None:
        self.stub = stub
        self.broker = broker
        self.clock = clock

    async def profiles(self, *items: pb.ProfileInput, workspace: str = "shop") -> list[pb.ItemResult]:
        request = pb.IngestProfilesRequest(workspace_id=workspace, profiles=items)
        return list((await self.stub.IngestProfiles(request)).results)

    async def events(self, *items: pb.EventInput, workspace: str = "shop") -> list[pb.ItemResult]:
        request = pb.IngestEventsRequest(workspace_id=workspace, events=items)
        return list((await self.stub.IngestEvents(request)).results)

    async def profile(self, **by: Any) -> profile_pb2.Profile:
        return (await self.stub.GetProfile(pb.GetProfileRequest(workspace_id="shop", **by))).profile

    async def everybody(self, workspace: str = "shop") -> list[profile_pb2.Profile]:
        request = pb.ListProfilesRequest(workspace_id=workspace, page_size=1000)
        response = await self.stub.ListProfiles(request)
        assert response.total_size == len(response.profiles)
        return list(response.profiles)

    async def published(self) -> list[ProfileChanged]:
        """Everything in the stream, from its start."""
        jetstream = self.broker.jetstream
        state = (await jetstream.stream_info(STREAM)).state
        found = [await jetstream.get_msg(STREAM, seq) for seq in range(1, state.messages + 1)]
        return [ProfileChanged.FromString(message.data or b"") for message in found]

    async def published_events(self) -> Counter[str]:
        return Counter(change.event.event_id for change in await self.published() if change.HasField("event"))


@pytest.fixture(scope="module")
def servers() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@asynccontextmanager
async def running(server: NatsServer, directory: Path, clock: FakeClock) -> AsyncIterator[Service]:
    config = ProfileConfig(nats_url=server.url, data_dir=directory, partitions=4, migrate_on_start=True)
    async with build(config, clock) as app, serving(app) as channel:
        broker = await Broker.connect(server.url, "test")
        try:
            yield Service(ProfileServiceStub(channel), broker, clock)
        finally:
            await broker.close()


@pytest.fixture
async def service(servers: NatsServer, tmp_path: Path) -> AsyncIterator[Service]:
    async with running(servers, tmp_path, FakeClock()) as found:
        yield found
        await found.broker.jetstream.delete_stream(STREAM)


def person(*identities: str, **attributes: str) -> pb.ProfileInput:
    item = pb.ProfileInput()
    for identity in identities:
        namespace, _, value = identity.partition(":")
        item.identities.add(namespace=namespace, value=value)
    for name, value in attributes.items():
        item.attributes[name].value.string_value = value
    return item


def event(event_id: str, identity: str = "email:ana@example.com", type_: str = "purchase") -> pb.EventInput:
    item = pb.EventInput(event_id=event_id, type=type_)
    item.identity.namespace, _, item.identity.value = identity.partition(":")
    return item


async def test_a_profile_is_found_by_any_of_its_identities(service: Service) -> None:
    [first] = await service.profiles(person("email: Ana@Example.com", "user:1", name="Ana"))
    [second] = await service.profiles(person("user:1", "phone:+34 911 23 45 67", city="Madrid"))
    assert (first.outcome, second.outcome) == (OK, OK)
    assert first.profile_id == second.profile_id
    for namespace, value in (("email", "ANA@example.com"), ("user", "1"), ("phone", "+34911234567")):
        found = await service.profile(identity=profile_pb2.Identity(namespace=namespace, value=value))
        assert found.profile_id == first.profile_id
        assert {name: held.value.string_value for name, held in found.attributes.items()} == {
            "name": "Ana",
            "city": "Madrid",
        }
    assert len(await service.everybody()) == 1


async def test_the_same_items_again_change_nothing(service: Service) -> None:
    item = person("email:ana@example.com", name="Ana")
    item.attributes["name"].observed_at.seconds = 1_700_000_000
    [first] = await service.profiles(item)
    before = await service.profile(profile_id=first.profile_id)
    service.clock.advance(MINUTE)
    assert [result.profile_id for result in await service.profiles(item, item)] == [first.profile_id] * 2
    assert await service.profile(profile_id=first.profile_id) == before


async def test_items_of_one_batch_see_each_other(service: Service) -> None:
    results = await service.profiles(
        person("user:1"), person("user:2"), person("user:1", "email:ana@example.com"), person("email:ana@example.com")
    )
    assert [result.outcome for result in results] == [OK] * 4
    one, two, three, four = (result.profile_id for result in results)
    assert one == three == four != two


async def test_identities_of_two_people_are_a_conflict_and_the_rest_is_taken(service: Service) -> None:
    await service.profiles(person("user:1"), person("user:2"))
    results = await service.profiles(person("user:1", "user:2", name="Both"), person("user:1", name="Ana"))
    assert [result.outcome for result in results] == [FAILED, OK]
    assert results[0].error.reason == reason_pb2.REASON_IDENTITY_CONFLICT
    assert {profile.attributes["name"].value.string_value for profile in await service.everybody()} == {"Ana", ""}


async def test_bad_items_fail_alone_with_the_field(service: Service) -> None:
    late = person("user:late", name="x")
    late.attributes["name"].observed_at.seconds = service.clock.now() // SECOND + 3600
    results = await service.profiles(
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
    assert len(await service.everybody()) == 1


async def test_beyond_a_limit_nothing_of_the_item_is_taken(service: Service) -> None:
    await service.profiles(person(*(f"user:{number}" for number in range(50))))
    [result] = await service.profiles(person("user:0", "user:50", name="Ana"))
    assert (result.outcome, result.error.reason) == (FAILED, reason_pb2.REASON_PROFILE_LIMIT)
    [profile] = await service.everybody()
    assert len(profile.identities) == 50
    assert not profile.attributes
    # The identity that was refused is nobody's.
    [other] = await service.profiles(person("user:50"))
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
async def test_what_no_store_can_hold_fails_alone(service: Service, poison: pb.ProfileInput) -> None:
    results = await service.profiles(person("user:1"), poison)
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
async def test_events_that_no_store_can_hold_fail_alone(service: Service, poison: pb.EventInput) -> None:
    results = await service.events(event("e1"), poison)
    assert [result.outcome for result in results] == [OK, FAILED]
    assert results[1].error.reason == reason_pb2.REASON_INVALID_FIELD
    assert results[1].error.field


async def test_an_event_makes_the_profile_it_needs(service: Service) -> None:
    [result] = await service.events(event("e1"))
    assert result.outcome == OK
    found = await service.profile(identity=profile_pb2.Identity(namespace="email", value="ana@example.com"))
    assert found.profile_id == result.profile_id
    request = pb.ListEventsRequest(workspace_id="shop", profile_id=result.profile_id)
    assert [found.event_id for found in (await service.stub.ListEvents(request)).events] == ["e1"]


async def test_an_event_that_was_seen_has_no_second_effect(service: Service) -> None:
    [first] = await service.events(event("e1"))
    service.clock.advance(365 * 24 * 60 * MINUTE)
    again = await service.events(event("e1", "user:other", "refund"), event("e2"), event("e2"))
    assert [result.outcome for result in again] == [DUPLICATE, OK, DUPLICATE]
    assert again[0].profile_id == first.profile_id
    [elsewhere] = await service.events(event("e1"), workspace="other")
    assert elsewhere.outcome == OK

    async def published() -> bool:
        return await service.published_events() == {"e1": 2, "e2": 1}

    await eventually(published)


async def test_an_event_that_was_seen_makes_nobody_whomever_it_names(service: Service) -> None:
    [first] = await service.events(event("e1"))
    [again] = await service.events(event("e1", "email:bo@example.com"))
    assert (again.outcome, again.profile_id) == (DUPLICATE, first.profile_id)
    assert len(await service.everybody()) == 1


async def test_of_several_events_with_one_id_the_first_that_can_be_taken_is(service: Service) -> None:
    nobody = pb.EventInput(event_id="e1", type="purchase", profile_id="nobody")
    refused, taken, *repeats = await service.events(
        nobody, event("e1"), event("e1", "email:bo@example.com"), *[event("e1", f"user:{n}") for n in range(900)]
    )
    assert refused.error.reason == reason_pb2.REASON_NOT_FOUND
    assert taken.outcome == OK
    assert {(result.outcome, result.profile_id) for result in repeats} == {(DUPLICATE, taken.profile_id)}
    assert len(await service.everybody()) == 1


async def test_of_consents_about_one_thing_the_newest_holds_however_they_are_listed(service: Service) -> None:
    item = person("email:ana@example.com")
    for state, at in ((profile_pb2.CONSENT_STATE_OPTED_OUT, 200), (profile_pb2.CONSENT_STATE_OPTED_IN, 100)):
        item.consents.add(channel=CHANNEL_EMAIL, topic="news", state=state).changed_at.seconds = at
    await service.profiles(item)
    [known] = await service.everybody()
    assert [consent.state for consent in known.consents] == [profile_pb2.CONSENT_STATE_OPTED_OUT]


async def test_an_event_of_nobody_and_one_too_large_fail_alone(service: Service) -> None:
    large = event("large")
    for number in range(20):
        large.properties[f"p{number}"].string_value = "x" * 4000
    results = await service.events(
        pb.EventInput(event_id="lost", type="purchase", profile_id="p404"), large, event("e1")
    )
    assert [result.outcome for result in results] == [FAILED, FAILED, OK]
    assert results[0].error.reason == reason_pb2.REASON_NOT_FOUND
    assert results[1].error.reason == reason_pb2.REASON_EVENT_TOO_LARGE
    # What was refused was not seen: it can be sent again once it's mended.
    assert [r.outcome for r in await service.events(event("lost"), event("large"))] == [OK, OK]


async def test_a_change_is_published_before_the_events_that_follow_it(service: Service) -> None:
    await service.profiles(person("email:ana@example.com", name="Ana"))
    await service.events(event("e1"))

    async def both() -> list[ProfileChanged] | None:
        found = await service.published()
        return found if len(found) >= 2 else None

    changes = await eventually(both)
    assert [change.event.event_id for change in changes] == ["", "e1"]
    assert all(change.profile.attributes["name"].value.string_value == "Ana" for change in changes)


async def test_the_same_batch_from_many_at_once_is_one_profile_per_person(service: Service) -> None:
    people = [person(f"email:p{number}@example.com", f"user:{number}") for number in range(20)]
    answers = await asyncio.gather(*(service.profiles(*people) for _ in range(8)))
    assert all(result.outcome == OK for results in answers for result in results)
    for number in range(20):
        assert len({results[number].profile_id for results in answers}) == 1
    assert len(await service.everybody()) == 20


async def test_people_who_are_told_of_in_parts_by_many_at_once_stay_one(service: Service) -> None:
    """Some callers know one identity, some another, some both."""
    for number in range(10):
        email, user = f"email:p{number}@example.com", f"user:{number}"
        answers = await asyncio.gather(
            service.profiles(person(user)),
            *(service.profiles(person(email, user)) for _ in range(3)),
            service.events(event(f"e{number}", user)),
        )
        assert [result.outcome for [result] in answers] == [OK] * 5, answers
        assert len({result.profile_id for [result] in answers}) == 1
    assert len(await service.everybody()) == 10


async def test_events_from_many_at_once_are_taken_once_and_published_once(service: Service) -> None:
    batch = [event(f"e{number}", f"user:{number % 5}") for number in range(40)]
    answers = await asyncio.gather(*(service.events(*batch) for _ in range(8)))
    for number in range(40):
        outcomes = Counter(results[number].outcome for results in answers)
        assert outcomes == {OK: 1, DUPLICATE: 7}
        assert len({results[number].profile_id for results in answers}) == 1
    assert len(await service.everybody()) == 5

    async def published() -> bool:
        return await service.published_events() == Counter(f"e{number}" for number in range(40))

    await eventually(published)
    service.clock.advance(MINUTE)  # the sweeps have nothing left to do
    assert await service.published_events() == Counter(f"e{number}" for number in range(40))


async def test_what_was_taken_while_the_broker_was_away_is_published_when_it_is_back(tmp_path: Path) -> None:
    with nats_server() as server:
        (data := tmp_path / "data").mkdir()
        async with running(server, data, FakeClock()) as service:
            await service.events(event("before"))
            server.kill()
            results = await service.events(*(event(f"e{number}") for number in range(10)))
            assert [result.outcome for result in results] == [OK] * 10
            server.start()
            expected = {"before", *(f"e{number}" for number in range(10))}

            async def published() -> bool:
                return service.broker.connected and set(await service.published_events()) == expected

            await eventually(published, within_s=30)


async def test_what_a_dead_service_had_not_published_the_next_one_does(tmp_path: Path) -> None:
    with nats_server() as server:
        (data := tmp_path / "data").mkdir()
        clock = FakeClock()
        async with running(server, data, clock) as service:
            server.kill()
            await service.events(event("e1"))
        server.start()
        died = clock.now()
        async with running(server, data, clock) as service:

            async def published() -> bool:
                clock.advance(SECOND // 10)
                return await service.published_events() == {"e1": 1}

            await eventually(published)
            assert clock.now() - died < 5 * SECOND  # soon, not when the sweep is due


async def test_pages_follow_each_other_to_the_end(service: Service) -> None:
    await service.profiles(*(person(f"user:{number}") for number in range(25)))
    seen, token = [], ""
    while True:
        request = pb.ListProfilesRequest(workspace_id="shop", page_size=10, page_token=token)
        response = await service.stub.ListProfiles(request)
        assert response.total_size == 25
        seen += [profile.profile_id for profile in response.profiles]
        token = response.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen)
    assert await service.everybody("other") == []
