"""What happened to a profile, newest first: events, consents with their proof, and what became of its identities."""

from __future__ import annotations

from typing import Any

from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_pb2 import CONSENT_STATE_OPTED_IN, CONSENT_STATE_OPTED_OUT, Consent
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL

from services.chassis.clock import SECOND
from tests.served_people import ServedPeople, event, identity, names, person, refusal, seconds

EVENT, CONSENT, IDENTITY = pb.TIMELINE_KIND_EVENT, pb.TIMELINE_KIND_CONSENT, pb.TIMELINE_KIND_IDENTITY
MERGED = pb.IDENTITY_CHANGE_KIND_MERGED
MOVED_HERE, MOVED_AWAY = pb.IDENTITY_CHANGE_KIND_MOVED_HERE, pb.IDENTITY_CHANGE_KIND_MOVED_AWAY
UNLINKED = pb.IDENTITY_CHANGE_KIND_UNLINKED
ANA = "email:ana@example.com"


def consent(ago: int, topic: str = "news", state: int = CONSENT_STATE_OPTED_IN, proof: str = "") -> Consent:
    return Consent(channel=CHANNEL_EMAIL, topic=topic, state=state, changed_at=seconds(ago), source="form", proof=proof)


def shown(entry: pb.TimelineEntry) -> tuple[Any, ...]:
    """An entry in short; instants are left out."""
    match entry.WhichOneof("what"):
        case "event":
            return "event", entry.event.event_id
        case "consent":
            return "consent", entry.consent.topic, entry.consent.state, entry.consent.proof
        case _:
            change = entry.identity_change
            return "identity", change.kind, names(change.identities), change.other_profile_id


async def pages(people: ServedPeople, profile_id: str, size: int, **asked: Any) -> list[list[pb.TimelineEntry]]:
    """All pages, to the last."""
    found = [await people.timeline(profile_id, page_size=size, **asked)]
    while found[-1].next_page_token:
        found.append(await people.timeline(profile_id, page_size=size, page_token=found[-1].next_page_token, **asked))
    return [list(page.entries) for page in found]


async def merged_with_a_past(people: ServedPeople) -> tuple[str, str]:
    """Two profiles, with events and consents of the same instants, that turned out to be one person."""
    older = await people.tell(person(ANA, ago=100))
    people.clock.advance(SECOND)
    younger = await people.tell(person("card:1", ago=100))
    for subject, prefix in ((ANA, "a"), ("card:1", "b")):
        await people.events(*(event(f"{prefix}{number}", subject, ago=50 - number // 5) for number in range(10)))
        await people.record(*(consent(50, f"{prefix}{number}") for number in range(3)), identity=identity(subject))
    await people.tell(person(ANA, "card:1"))
    return older, younger


async def test_everything_that_happened_is_told_newest_first(people: ServedPeople) -> None:
    ana = await people.tell(person(ANA, "device:x", ago=100))
    await people.record(consent(40, proof="I agree"), profile_id=ana)
    await people.events(event("e1", ANA, ago=30), event("e2", "device:x", ago=60))
    await people.record(consent(20, state=CONSENT_STATE_OPTED_OUT), identity=identity(ANA))
    await people.unlink(ana, "device:x")
    entries = (await people.timeline(ana)).entries
    assert [shown(entry) for entry in entries] == [
        ("identity", UNLINKED, ["device:x"], ""),
        ("consent", "news", CONSENT_STATE_OPTED_OUT, ""),
        ("event", "e1"),
        ("consent", "news", CONSENT_STATE_OPTED_IN, "I agree"),
        ("event", "e2"),
    ]
    assert [entry.at for entry in entries] == [seconds(ago) for ago in (0, 20, 30, 40, 60)]
    [e1] = [entry.event for entry in entries if entry.event.event_id == "e1"]
    assert (e1.workspace_id, e1.profile_id, e1.type, e1.occurred_at) == ("shop", ana, "purchase", seconds(30))
    assert entries[1].consent.source == "form"


async def test_a_consent_is_told_as_it_was_given_whether_it_holds_or_not(people: ServedPeople) -> None:
    ana = await people.record(consent(10, proof="newest"), identity=identity(ANA))
    await people.record(consent(20, state=CONSENT_STATE_OPTED_OUT, proof="told late"), identity=identity(ANA))
    item = person(ANA)
    item.consents.append(consent(30, proof="of an item"))
    await people.tell(item)
    told = [entry.consent for entry in (await people.timeline(ana.profile_id)).entries]
    assert told == [
        consent(10, proof="newest"),
        consent(20, state=CONSENT_STATE_OPTED_OUT, proof="told late"),
        consent(30, proof="of an item"),
    ]
    assert (await people.who(ANA)).consents == [consent(10)]


async def test_what_is_told_again_is_in_the_timeline_once(people: ServedPeople) -> None:
    older, _ = await merged_with_a_past(people)
    before = await people.timeline(older)
    item = person(ANA, "card:1")
    item.consents.append(consent(50, "a0"))
    for _ in range(2):
        await people.events(event("a0", ANA, ago=50))
        await people.tell(item)
    assert await people.timeline(older) == before


async def test_a_merge_is_told_with_what_came(people: ServedPeople) -> None:
    older, younger = await merged_with_a_past(people)
    [entry] = (await people.timeline(older, kinds=[IDENTITY])).entries
    assert shown(entry) == ("identity", MERGED, ["card:1"], younger)
    assert entry.at == seconds(-1)


async def test_who_loses_a_device_and_who_gets_it_are_both_told(people: ServedPeople) -> None:
    ana = await people.tell(person("user_id:ana", "device:x", "device:y", ago=100))
    bo = await people.tell(person("user_id:bo", "device:x", "device:y", ago=50))
    [away] = (await people.timeline(ana)).entries
    [here] = (await people.timeline(bo)).entries
    assert shown(away) == ("identity", MOVED_AWAY, ["device:x", "device:y"], bo)
    assert shown(here) == ("identity", MOVED_HERE, ["device:x", "device:y"], ana)


async def test_events_of_one_that_was_merged_are_the_other_ones(people: ServedPeople) -> None:
    older, younger = await merged_with_a_past(people)
    entries = (await people.timeline(younger, kinds=[EVENT])).entries
    assert len(entries) == 20
    assert {entry.event.profile_id for entry in entries} == {older}
    assert [entry.event.event_id for entry in entries] == await people.event_ids(older)


async def test_kinds_and_types_can_be_chosen(people: ServedPeople) -> None:
    ana = await people.tell(person(ANA, "device:x", ago=100))
    types = ("purchase", "visit", "order.paid")
    await people.events(*(event(type_, ANA, type_, ago=10 + number) for number, type_ in enumerate(types)))
    await people.record(consent(40), profile_id=ana)
    await people.unlink(ana, "device:x")

    async def chosen(**asked: Any) -> list[str]:
        entries = (await people.timeline(ana, **asked)).entries
        return [entry.event.event_id or str(entry.WhichOneof("what")) for entry in entries]

    assert await chosen() == ["identity_change", "purchase", "visit", "order.paid", "consent"]
    assert await chosen(kinds=[EVENT]) == ["purchase", "visit", "order.paid"]
    assert await chosen(kinds=[CONSENT]) == ["consent"]
    assert await chosen(kinds=[IDENTITY, CONSENT]) == ["identity_change", "consent"]
    assert await chosen(event_types=["visit", "purchase"]) == ["identity_change", "purchase", "visit", "consent"]
    assert await chosen(kinds=[EVENT], event_types=["visit"]) == ["visit"]
    assert await chosen(kinds=[EVENT], event_types=["refund"]) == []


async def test_pages_of_any_size_are_the_list_though_much_has_one_instant(people: ServedPeople) -> None:
    older, _ = await merged_with_a_past(people)
    [whole] = await pages(people, older, 1000)
    assert len(whole) == 27
    for size in (1, 2, 3, 7, 26, 27):
        found = await pages(people, older, size)
        assert [entry for page in found for entry in page] == whole, size
        assert max(map(len, found)) <= size


async def test_a_page_goes_on_in_the_midst_of_many_that_have_one_instant(people: ServedPeople) -> None:
    ana = await people.tell(person(ANA))
    await people.events(*(event(f"e{number}", ANA, ago=50) for number in range(40)), event("older", ANA, ago=60))
    [whole] = await pages(people, ana, 1000)
    for size in (1, 3):
        page = await people.timeline(ana, page_size=size)
        found = list(page.entries)
        for _ in range(3 * len(whole)):
            if not page.next_page_token:
                break
            page = await people.timeline(ana, page_size=size, page_token=page.next_page_token)
            found += page.entries
        assert found == whole


async def test_events_are_paged_in_the_same_way(people: ServedPeople) -> None:
    older, _ = await merged_with_a_past(people)
    found: list[str] = []
    request = pb.ListEventsRequest(workspace_id="shop", profile_id=older, page_size=3)
    while True:
        response = await people.stub.ListEvents(request)
        found += [listed.event_id for listed in response.events]
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    assert found == await people.event_ids(older)
    assert len(set(found)) == 20


async def test_what_is_rare_is_found_behind_pages_that_are_short(people: ServedPeople) -> None:
    ana = await people.tell(person(ANA))
    await people.events(
        event("rare", ANA, "refund", ago=500), *(event(f"e{number}", ANA, "visit", ago=number) for number in range(60))
    )
    found = await pages(people, ana, 2, kinds=[EVENT], event_types=["refund"])
    assert [entry.event.event_id for page in found for entry in page] == ["rare"]
    assert [] in found[:-1]
    # What is older than the rare one, and easier to find, waits for it.
    await people.record(*(consent(600 + number, f"t{number}") for number in range(5)), profile_id=ana)
    found = await pages(people, ana, 2, event_types=["refund"])
    assert [shown(entry)[1] for page in found for entry in page] == ["rare", "t0", "t1", "t2", "t3", "t4"]


async def test_a_list_goes_on_where_it_was_when_others_are_merged_and_more_happens(people: ServedPeople) -> None:
    ana = await people.tell(person(ANA))
    await people.events(*(event(f"e{number}", ANA, ago=10 * number) for number in range(1, 7)))
    first = await people.timeline(ana, page_size=3)
    people.clock.advance(SECOND)
    await people.events(event("theirs, older", "card:1", ago=45), event("theirs, newer", "card:1", ago=5))
    await people.tell(person(ANA, "card:1"))
    await people.events(event("new", ANA))
    rest = await people.timeline(ana, page_token=first.next_page_token)
    assert [shown(entry)[1] for entry in (*first.entries, *rest.entries)] == [
        "e1",
        "e2",
        "e3",
        "e4",
        "theirs, older",
        "e5",
        "e6",
    ]


async def test_a_token_of_another_list_is_refused(people: ServedPeople) -> None:
    older, _ = await merged_with_a_past(people)
    bo = await people.tell(person("user_id:bo"))
    token = (await people.timeline(older, page_size=3)).next_page_token
    listing = pb.ListEventsRequest(workspace_id="shop", profile_id=older, page_size=3)
    of_events = (await people.stub.ListEvents(listing)).next_page_token
    assert token
    assert of_events
    assert (await people.timeline(older, page_token=token, page_size=5)).entries
    for call in (
        people.timeline(bo, page_token=token),
        people.timeline(older, page_token=token, kinds=[EVENT]),
        people.timeline(older, page_token=token, event_types=["purchase"]),
        people.timeline(older, page_token=of_events),
        people.timeline(older, page_token=of_events, kinds=[EVENT]),
        people.timeline(older, page_token="rubbish"),
        people.timeline(older, page_token="ÄÖ\0"),
        people.stub.ListEvents(pb.ListEventsRequest(workspace_id="shop", profile_id=older, page_token=token)),
    ):
        assert (await refusal(call)).reason_name == "INVALID_PAGE_TOKEN"


async def test_nobodys_timeline_is_not_found(people: ServedPeople) -> None:
    assert (await refusal(people.timeline("nobody"))).reason_name == "NOT_FOUND"
    await people.tell(person(ANA))
    elsewhere = pb.ListTimelineRequest(workspace_id="other", profile_id=(await people.who(ANA)).profile_id)
    assert (await refusal(people.stub.ListTimeline(elsewhere))).reason_name == "NOT_FOUND"
