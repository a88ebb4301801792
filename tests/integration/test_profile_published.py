"""What is published of people: every change that shows once, with revisions that grow, and of those who turn out to be
one person what the others need to know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.profile.v1.profile_pb2 import CONSENT_STATE_OPTED_IN, Consent, Profile
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL

from services.chassis.clock import SECOND
from services.chassis.testing import eventually
from tests.served_people import (
    DUPLICATE,
    FAILED,
    STREAM,
    ServedPeople,
    event,
    identity,
    names,
    person,
    seconds,
    serving_people,
    texts,
)
from tests.servers import NatsServer, nats_server

ANA, CARD = "email:ana@example.com", "card:1"


async def changes(people: ServedPeople) -> list[ProfileChanged]:
    """What was published, once everything is that there was to publish till now: events come after all else."""
    people.clock.advance(1)
    marker = f"marker {people.clock.now()}"
    [taken] = await people.events(event(marker, "marker:1"))

    async def published() -> list[ProfileChanged] | None:
        found = await people.published()
        if any(change.event.event_id == marker for change in found):
            return [change for change in found if change.profile.profile_id != taken.profile_id]
        return None

    return await eventually(published)


def of(found: list[ProfileChanged], profile_id: str) -> list[Profile]:
    """The states of one profile that were published."""
    return [change.profile for change in found if change.profile.profile_id == profile_id]


async def merged(people: ServedPeople) -> tuple[str, str]:
    older = await people.tell(person(ANA, ago=100, name="Ana"))
    people.clock.advance(SECOND)
    younger = await people.tell(person(CARD, ago=100, city="Madrid"))
    await changes(people)
    await people.tell(person(ANA, CARD, ago=50))
    return older, younger


async def test_each_change_is_told_once_and_the_last_is_what_is_there(people: ServedPeople) -> None:
    profile_id = await people.tell(person(ANA, name="Ana"))
    for number in range(5):
        await changes(people)
        await people.tell(person(ANA, **{f"n{number}": "x"}))
    told = of(await changes(people), profile_id)
    assert [profile.revision for profile in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1] == await people.profile(profile_id=profile_id)


async def test_of_changes_that_follow_each_other_at_once_the_last_is_told(people: ServedPeople) -> None:
    for number in range(30):
        await people.tell(person(ANA, **{f"n{number}": "x"}))
    told = [change.profile for change in await changes(people)]
    assert told[-1] == await people.who(ANA)
    assert all(before.revision < after.revision for before, after in pairwise(told))


async def test_what_was_told_before_is_not_told_again(people: ServedPeople) -> None:
    await merged(people)
    consent = Consent(channel=CHANNEL_EMAIL, topic="news", state=CONSENT_STATE_OPTED_IN, changed_at=seconds(10))
    await people.record(consent, identity=identity(CARD))
    await people.events(event("e1", CARD))
    before = await changes(people)
    repeated = person(ANA, CARD, ago=50)
    late = person(ANA, ago=500, name="Anna")
    linked_again = person(CARD, ANA, ago=5)
    await people.tell(repeated, repeated, late, linked_again)
    await people.link(ANA, CARD)
    await people.record(consent, identity=identity(CARD))
    [again] = await people.events(event("e1", ANA))
    assert again.outcome == DUPLICATE
    await people.unlink(await people.whose(ANA), "card:nobodys")
    assert await changes(people) == before


async def test_nothing_is_told_of_what_was_refused(people: ServedPeople) -> None:
    await people.tell(person("user_id:1", *(f"card:{number}" for number in range(49))), person("device:x"))
    before = await changes(people)
    results = await people.profiles(
        person("user_id:1", "device:x"), person("user_id:1", "device:y", name="Ana"), person("user_id:1", "user_id:2")
    )
    assert [result.outcome for result in results] == [FAILED] * 3
    [lost] = await people.events(pb.EventInput(event_id="lost", type="visit", profile_id="nobody"))
    assert lost.outcome == FAILED
    assert await changes(people) == before


async def test_a_merge_is_told_by_the_one_that_stays(people: ServedPeople) -> None:
    older, younger = await merged(people)
    found = await changes(people)
    stays = of(found, older)[-1]
    assert stays == await people.profile(profile_id=older)
    assert list(stays.merged_profile_ids) == [younger]
    assert names(stays.identities) == [ANA, CARD]
    assert texts(stays) == {"name": "Ana", "city": "Madrid"}
    # Of the other nothing comes but what was told before.
    assert [profile.revision for profile in of(found, younger)] == [1]
    await people.tell(person(CARD, tier="gold"))
    assert len(of(await changes(people), younger)) == 1


async def test_all_that_were_merged_are_told_however_long_the_chain(people: ServedPeople) -> None:
    ids = []
    for number in range(4):
        ids.append(await people.tell(person(f"card:{number}")))
        people.clock.advance(SECOND)
    for one, other in ((2, 3), (1, 2), (0, 1)):
        await people.tell(person(f"card:{one}", f"card:{other}"))
    stays = of(await changes(people), ids[0])[-1]
    assert set(stays.merged_profile_ids) == set(ids[1:])


async def test_who_loses_an_identity_and_who_gets_it_are_both_told(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", "device:x", ago=100))
    bo = await people.tell(person("user_id:bo", "device:x", ago=50))
    found = await changes(people)
    assert names(of(found, ana)[-1].identities) == ["user_id:ana"]
    assert names(of(found, bo)[-1].identities) == ["user_id:bo", "device:x"]
    await people.unlink(bo, "device:x")
    assert names(of(await changes(people), bo)[-1].identities) == ["user_id:bo"]


async def test_events_of_a_merged_profile_are_the_survivors(people: ServedPeople) -> None:
    older, younger = await merged(people)
    await people.events(pb.EventInput(event_id="late", type="visit", profile_id=younger), event("e2", CARD))
    told = [change for change in await changes(people) if change.HasField("event")]
    assert [change.event.event_id for change in told] == ["late", "e2"]
    assert {(change.event.profile_id, change.profile.profile_id) for change in told} == {(older, older)}
    assert all(list(change.profile.merged_profile_ids) == [younger] for change in told)


async def test_proofs_are_not_published_and_subjects_are_of_the_profile(people: ServedPeople) -> None:
    consent = Consent(channel=CHANNEL_EMAIL, topic="news", state=CONSENT_STATE_OPTED_IN, proof="the form's words")
    profile = await people.record(consent, identity=identity(ANA))
    await changes(people)
    message = await people.broker.jetstream.get_msg(STREAM, 1)
    assert b"the form's words" not in (message.data or b"")
    prefix, _, rest = str(message.subject).partition(".shop.")
    partition, _, of_profile = rest.partition(".")
    assert (prefix, of_profile) == ("camino.profile.v1.ProfileChanged", profile.profile_id)
    assert partition.isdigit()


# --- while the broker is away -----------------------------------------------------------------------------------------


@pytest.fixture
async def cut_off(tmp_path: Path) -> AsyncIterator[tuple[ServedPeople, NatsServer]]:
    """The service, and a broker that may be killed."""
    with nats_server() as server:
        (data := tmp_path / "data").mkdir()
        async with serving_people(server, data) as people:
            yield people, server


async def test_an_event_that_was_under_way_at_the_merge_is_told_as_the_survivors(
    cut_off: tuple[ServedPeople, NatsServer],
) -> None:
    people, server = cut_off
    older = await people.tell(person(ANA))
    people.clock.advance(SECOND)
    younger = await people.tell(person(CARD))
    await changes(people)
    server.kill()
    # The first is what the outbox is at; the others wait behind it.
    await people.tell(person("card:other"))
    [taken] = await people.events(event("e1", CARD))
    assert taken.profile_id == younger
    await people.tell(person(ANA, CARD))
    server.start()
    told = [change for change in await changes(people) if change.HasField("event")]
    assert [change.event.event_id for change in told] == ["e1"]
    assert told[0].event.profile_id == told[0].profile.profile_id == older
    assert list(told[0].profile.merged_profile_ids) == [younger]


async def test_of_what_changed_often_meanwhile_the_last_is_told_as_soon_as_it_is_back(
    cut_off: tuple[ServedPeople, NatsServer],
) -> None:
    people, server = cut_off
    server.kill()
    for number in range(5):
        await people.tell(person("card:1", **{f"n{number}": "x"}), person("card:2", **{f"n{number}": "x"}))
    server.start()
    found = await changes(people)
    for card in ("card:1", "card:2"):
        there = await people.who(card)
        assert of(found, there.profile_id)[-1] == there
