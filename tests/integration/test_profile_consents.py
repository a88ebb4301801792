"""What a person agreed to, also when two turn out to be one: that somebody agreed says nothing of what another had
refused."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_pb2 import CONSENT_STATE_OPTED_IN, CONSENT_STATE_OPTED_OUT, Consent
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL, CHANNEL_SMS

from services.chassis.clock import SECOND
from tests.served_people import FAILED, OK, ServedPeople, identity, person, refusal, seconds

IN, OUT = CONSENT_STATE_OPTED_IN, CONSENT_STATE_OPTED_OUT
ANA, CARD = "user_id:ana", "card:1"
PROFILE_LIMIT = pb.ItemError(reason="REASON_PROFILE_LIMIT").reason


def said(state: int, ago: int, topic: str = "news", channel: int = CHANNEL_EMAIL, **more: str) -> Consent:
    return Consent(channel=channel, topic=topic, state=state, changed_at=seconds(ago), **more)


async def told(people: ServedPeople, subject: str, state: int, ago: int) -> None:
    await people.record(said(state, ago), identity=identity(subject))


async def holds(people: ServedPeople, subject: str = ANA) -> Consent:
    [consent] = (await people.who(subject)).consents
    return consent


# --- of one person ----------------------------------------------------------------------------------------------------


async def test_consents_are_recorded_of_an_id_or_an_identity(people: ServedPeople) -> None:
    made = await people.record(
        said(IN, 100, source="shop", proof="I agree"), identity=identity("email:Ana@Example.com")
    )
    assert [(one.namespace, one.value) for one in made.identities] == [("email", "ana@example.com")]
    assert made.consents == [said(IN, 100, source="shop")]
    both = await people.record(
        said(OUT, 90, channel=CHANNEL_SMS), said(IN, 90, "offers"), said(IN, 95, "offers"), profile_id=made.profile_id
    )
    assert both.profile_id == made.profile_id
    assert sorted(both.consents, key=str) == sorted(
        [said(IN, 100, source="shop"), said(OUT, 90, channel=CHANNEL_SMS), said(IN, 90, "offers")], key=str
    )
    assert both == await people.who("email:ana@example.com")


async def test_nobodys_consents_are_not_recorded(people: ServedPeople) -> None:
    assert (await refusal(people.record(said(IN, 1), profile_id="nobody"))).reason_name == "NOT_FOUND"
    assert await people.everybody() == []


async def test_consents_of_a_merged_profile_are_the_other_ones(people: ServedPeople) -> None:
    older = await people.tell(person(ANA))
    people.clock.advance(SECOND)
    younger = await people.tell(person(CARD))
    await people.tell(person(ANA, CARD))
    profile = await people.record(said(IN, 100), profile_id=younger)
    assert profile.profile_id == older
    assert profile.consents == [said(IN, 100)]
    [entry] = (await people.timeline(older, kinds=[pb.TIMELINE_KIND_CONSENT])).entries
    assert entry.consent == said(IN, 100)


async def test_the_newest_holds_in_any_order(people: ServedPeople) -> None:
    for number, order in enumerate(permutations(((IN, 300), (OUT, 200), (IN, 100)))):
        for state, ago in order:
            await told(people, f"card:{number}", state, ago)
        assert await holds(people, f"card:{number}") == said(IN, 100), order


async def test_of_two_at_one_instant_the_stricter_holds(people: ServedPeople) -> None:
    for number, order in enumerate(permutations((IN, OUT))):
        for state in order:
            await told(people, f"card:{number}", state, 100)
        assert await holds(people, f"card:{number}") == said(OUT, 100)


async def test_when_left_out_it_was_said_when_the_item_was_observed(people: ServedPeople) -> None:
    item = person(ANA, ago=70)
    item.consents.add(channel=CHANNEL_EMAIL, topic="news", state=IN)
    await people.tell(item)
    assert (await holds(people)).changed_at == seconds(70)
    await people.record(Consent(channel=CHANNEL_EMAIL, topic="news", state=OUT), identity=identity(ANA))
    assert (await holds(people)).changed_at == seconds(0)


async def test_the_same_again_changes_nothing(people: ServedPeople) -> None:
    await told(people, ANA, IN, 100)
    before = await people.who(ANA)
    people.clock.advance(SECOND)
    await told(people, ANA, IN, 100)
    await told(people, ANA, OUT, 200)
    assert await people.who(ANA) == before


# --- of two who turn out to be one ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Says:
    """The user or the card said something, so many seconds ago."""

    who: str
    state: int
    ago: int

    async def __call__(self, people: ServedPeople, number: int) -> None:
        await told(people, f"{self.who}:{number}", self.state, self.ago)


@dataclass(frozen=True)
class Linked:
    """The two were seen to be one, so many seconds ago."""

    ago: int

    async def __call__(self, people: ServedPeople, number: int) -> None:
        await people.link(f"user_id:{number}", f"card:{number}", ago=self.ago)


USER = "user_id"
STORIES: dict[str, tuple[int, tuple[Says | Linked, ...]]] = {
    "that one agreed last is nothing to what the other had refused": (
        OUT,
        (Says("card", OUT, 300), Says(USER, IN, 200), Linked(100)),
    ),
    "whoever of them it was": (OUT, (Says(USER, OUT, 300), Says("card", IN, 200), Linked(100))),
    "what they say from then on holds for both": (
        IN,
        (Says("card", OUT, 300), Says(USER, OUT, 200), Linked(100), Says(USER, IN, 50)),
    ),
    "by whichever of their names": (
        IN,
        (Says(USER, OUT, 300), Says("card", OUT, 200), Linked(100), Says("card", IN, 50)),
    ),
    "at that very instant too": (IN, (Says(USER, OUT, 300), Linked(100), Says("card", IN, 100))),
    "a moment before, not yet": (OUT, (Says(USER, OUT, 300), Says("card", IN, 101), Linked(100))),
    "they refuse later what both had agreed to": (
        OUT,
        (Says(USER, IN, 300), Says("card", IN, 200), Linked(100), Says(USER, OUT, 50)),
    ),
    "one changed their mind before, and the other not": (
        OUT,
        (Says("card", OUT, 300), Says(USER, OUT, 250), Says(USER, IN, 200), Linked(100)),
    ),
    "both changed their minds": (
        IN,
        (Says("card", OUT, 300), Says(USER, OUT, 250), Says(USER, IN, 200), Says("card", IN, 150), Linked(100)),
    ),
    "both agreed": (IN, (Says("card", IN, 300), Says(USER, IN, 200), Linked(100))),
    "only one said anything": (IN, (Says("card", IN, 300), Linked(100))),
    "they were one earlier than was known at first": (
        IN,
        (Says("card", OUT, 300), Says(USER, IN, 150), Linked(100), Linked(200)),
    ),
}


@pytest.mark.parametrize("story", STORIES)
async def test_what_holds_of_two_who_are_one(people: ServedPeople, story: str) -> None:
    """However it's told: as it happened, backwards, with the links first, and with them last."""
    state, acts = STORIES[story]
    links = [act for act in acts if isinstance(act, Linked)]
    rest = [act for act in acts if isinstance(act, Says)]
    for number, order in enumerate((acts, acts[::-1], (*links, *rest), (*rest, *links))):
        for act in order:
            await act(people, number)
        assert await people.whose(f"user_id:{number}") == await people.whose(f"card:{number}")
        assert (await holds(people, f"card:{number}")).state == state, order


async def test_each_topic_and_channel_is_for_itself(people: ServedPeople) -> None:
    await people.record(said(OUT, 300), said(IN, 300, "offers"), identity=identity(CARD))
    await people.record(said(IN, 200), said(OUT, 200, channel=CHANNEL_SMS), identity=identity(ANA))
    profile = (await people.link(ANA, CARD, ago=100)).profile
    held = {(consent.channel, consent.topic): consent.state for consent in profile.consents}
    assert held == {(CHANNEL_EMAIL, "news"): OUT, (CHANNEL_EMAIL, "offers"): IN, (CHANNEL_SMS, "news"): OUT}


async def test_what_is_said_of_the_survivors_id_holds_for_all_who_are_one(people: ServedPeople) -> None:
    await told(people, CARD, OUT, 300)
    await told(people, ANA, OUT, 300)
    profile = (await people.link(ANA, CARD, ago=100)).profile
    await people.record(said(IN, 50), profile_id=profile.profile_id)
    assert await holds(people) == said(IN, 50)


async def test_who_loses_an_identity_keeps_what_they_said(people: ServedPeople) -> None:
    await people.tell(person(ANA, "device:x", ago=300))
    await told(people, "device:x", OUT, 200)
    await people.tell(person("user_id:bo", "device:x", ago=100))
    assert await holds(people) == said(OUT, 200)
    assert (await people.who("user_id:bo")).consents == []
    await told(people, ANA, IN, 50)
    assert await holds(people) == said(IN, 50)


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_a_person_has_two_hundred_consents(people: ServedPeople) -> None:
    profile = await people.record(*(said(IN, 100, f"t{number}") for number in range(200)), identity=identity(ANA))
    assert len(profile.consents) == 200
    error = await refusal(people.record(said(OUT, 50, "t0"), said(IN, 50, "one-more"), identity=identity(ANA)))
    assert error.reason_name == "PROFILE_LIMIT"
    assert await people.who(ANA) == profile
    item = person(ANA, name="Ana")
    item.consents.append(said(IN, 50, "one-more"))
    [refused] = await people.profiles(item)
    assert (refused.outcome, refused.error.reason) == (FAILED, PROFILE_LIMIT)
    assert await people.who(ANA) == profile
    # What was refused is not in the timeline either.
    entries = (await people.timeline(profile.profile_id, page_size=1000)).entries
    assert "one-more" not in {entry.consent.topic for entry in entries}
    after = await people.record(said(OUT, 50, "t0"), identity=identity(ANA))
    assert after.revision == profile.revision + 1


BAD = [
    (Consent(topic="news", state=IN), "channel"),
    (Consent(channel=99, topic="news", state=IN), "channel"),
    (Consent(channel=CHANNEL_EMAIL, state=IN), "topic"),
    (Consent(channel=CHANNEL_EMAIL, topic="News", state=IN), "topic"),
    (Consent(channel=CHANNEL_EMAIL, topic="news"), "state"),
    (said(3, 0), "state"),
    (said(IN, 0, source="x" * 257), "source"),
    (said(IN, 0, proof="x" * 4097), "proof"),
    (said(IN, -901), "changed_at"),
]


async def test_consents_that_break_a_rule_are_refused_with_their_field(people: ServedPeople) -> None:
    for consent, field in BAD:
        item = person(ANA, name="Ana")
        item.consents.extend([said(IN, 0), consent])
        [refused, taken] = await people.profiles(item, person("user_id:bo"))
        assert (refused.outcome, refused.error.field, taken.outcome) == (FAILED, f"consents[1].{field}", OK)
        error = await refusal(people.record(said(IN, 0), consent, identity=identity(ANA)))
        assert error.reason_name == "INVALID_FIELD"
        assert [violation.field for violation in error.violations] == [f"consents[1].{field}"]
    assert await people.whose(ANA) == ""
