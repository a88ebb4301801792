"""The channels erase somebody, on each store: nothing personal is left, and nothing is sent to them any more."""

from __future__ import annotations

import asyncio
import random
from dataclasses import fields
from typing import Any

import pytest
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.errors.v1 import reason_pb2
from camino.type.v1 import messaging_pb2

from services.channels import convert
from services.channels.personal_data import ChannelsPersonalData
from services.channels.providers.base import Deferred, Outcome, Rejected, Unknown
from services.channels.store import SCHEMAS, Store
from services.chassis.clock import SECOND
from services.chassis.documents import Database
from services.chassis.errors import BrokerUnavailable
from services.chassis.personal_data import Subject
from services.chassis.testing import FakeClock
from tests.channels import RULES, Channels, Recorded, Scripted, requested
from tests.torn import Died, Life, Mortal, OneByOne

EMAIL = messaging_pb2.CHANNEL_EMAIL
NAME = "s3cret"
"""In everything personal."""
ANA = Subject("demo", ("ana", "ana-before"), ((EMAIL, f"{NAME}@Example.com"), (EMAIL, f"{NAME}.2@example.com")))
KEYS = [convert.suppression_key("demo", EMAIL, endpoint) for _, endpoint in ANA.endpoints]


@pytest.fixture
async def channels(empty_database: Database) -> Channels:
    await empty_database.migrate(SCHEMAS)
    made = Channels(Store.of(empty_database), FakeClock(), Scripted(), Recorded())
    await made.publish_template()
    return made


def people(channels: Channels) -> ChannelsPersonalData:
    return ChannelsPersonalData(channels.store, channels.gate.suppressions, channels.sender, channels.clock)


def mortal(store: Store, life: Life) -> Store:
    return Store(*(Mortal(getattr(store, field.name), life) for field in fields(Store)))


async def send(channels: Channels, *send_ids: str, **changes: Any) -> None:
    """Ask for messages to Ana."""
    whole = {"profile_id": "ana", "endpoint": f"{NAME}@example.com", "name": NAME, **changes}
    await channels.sender.handle([requested(channels.clock, send_id, **whole) for send_id in send_ids])


async def leave(channels: Channels, send_id: str, writes: int, **changes: Any) -> None:
    """Leave a message as a worker does that dies after so many writes of it."""
    with pytest.raises(Died):
        await send(channels.another(mortal(channels.store, Life(writes))), send_id, **changes)


async def remembered(store: Store, text: str = NAME) -> list[str]:
    """The documents that have this in them."""
    found = []
    for schema in SCHEMAS:
        page = await getattr(store, schema.name).scan(limit=1000)
        found += [f"{schema.name}: {one.id}" for one in page.documents if text in one.id or text in repr(one.body)]
    return found


ALL = {
    "reserved": "CANCELLED",
    "retry": "CANCELLED",
    "sending": "SENDING",
    "sent": "SENT",
    "failed": "FAILED",
    "unknown": "UNKNOWN",
    "suppressed": "SUPPRESSED",
    "before": "SENT",
}
"""Messages in all states, and which states they have once their person is erased."""


async def correspond(channels: Channels) -> None:
    """Messages to Ana in all states, two suppressed endpoints with reasons, and messages to others."""
    channels.provider.outcomes.update(
        {
            "retry": Deferred(f"450 {NAME}"),
            "failed": Rejected(f"550 no such user {NAME}", endpoint_invalid=True),
            "unknown": Unknown(f"lost {NAME}"),
        }
    )
    await send(channels, "sent", "retry", "unknown")
    await send(channels, "before", profile_id="ana-before")
    await leave(channels, "reserved", 1)
    await leave(channels, "sending", 2)
    await send(channels, "failed", endpoint=f"{NAME}.2@example.com")
    await channels.gate.suppressions.add({KEYS[0]: f"{NAME} asked by phone"}, channels.clock.now())
    await send(channels, "suppressed")
    await channels.sender.handle([requested(channels.clock, "other", profile_id="bea")])


async def test_nothing_is_left_but_ids_states_and_times(channels: Channels) -> None:
    await correspond(channels)
    before = {send_id: await channels.message(send_id) for send_id in ALL}
    other = await channels.message("other")
    channels.published.facts.clear()
    assert await people(channels).erase(ANA) == {"messages": len(ALL), "suppressions": 2}
    assert await remembered(channels.store) == []
    assert await channels.states(*ALL) == list(ALL.values())
    assert sorted(channels.published.settled()) == [("reserved", "CANCELLED"), ("retry", "CANCELLED")]
    facts = [fact.message for fact in channels.published.facts]
    assert {fact.reason for fact in facts if isinstance(fact, MessageSettled)} == {reason_pb2.REASON_PROFILE_ERASED}
    assert NAME not in repr(facts)
    for send_id, state in ALL.items():
        message = await channels.message(send_id)
        assert (message.send_id, message.profile_id) == (send_id, before[send_id].profile_id)
        assert (message.endpoint, message.detail, message.provider_ref) == ("", "", "")
        assert message.create_time == before[send_id].create_time
        was = [entry.state for entry in before[send_id].history]
        assert [entry.state for entry in message.history] == was + [7] * (state == "CANCELLED")
        assert not any(entry.detail for entry in message.history)
        expected = reason_pb2.REASON_PROFILE_ERASED if state == "CANCELLED" else before[send_id].reason
        assert message.reason == expected
    assert await channels.message("other") == other
    assert await people(channels).erase(ANA) == {"messages": 0, "suppressions": 0}


async def test_many_messages_are_gone_through_page_by_page(channels: Channels) -> None:
    channels.provider.batch = 500
    await send(channels, *(f"s{number}" for number in range(420)))
    assert await people(channels).erase(ANA) == {"messages": 420, "suppressions": 0}
    assert await remembered(channels.store) == []


async def test_requests_that_come_late_or_again_send_nothing(channels: Channels) -> None:
    await correspond(channels)
    await people(channels).erase(ANA)
    sent = list(channels.provider.sent)
    channels.provider.outcomes.clear()
    channels.published.facts.clear()
    channels.clock.advance(2 * RULES.lease)
    await send(channels, *(id_ for id_ in ALL if id_ not in ("before", "failed")), "late")
    await send(channels, "late-before", profile_id="ana-before", endpoint=f"{NAME}.3@example.com")
    await channels.due()
    assert channels.provider.sent == sent
    assert await channels.states("late", "late-before", "sending") == ["CANCELLED", "CANCELLED", "UNKNOWN"]
    late = await channels.message("late")
    assert (late.reason, late.endpoint) == (reason_pb2.REASON_PROFILE_ERASED, "")
    settled = dict(channels.published.settled())
    assert settled == {
        **{id_: state for id_, state in ALL.items() if id_ not in ("before", "failed", "sending")},
        "late": "CANCELLED",
        "late-before": "CANCELLED",
        "sending": "UNKNOWN",
    }
    assert await remembered(channels.store) == []


async def test_who_is_imported_again_is_not_mailed_until_that_is_lifted(channels: Channels) -> None:
    await send(channels, "s1")
    await people(channels).erase(ANA)
    await send(channels, "s2", profile_id="new", endpoint=f" {NAME.upper()}@EXAMPLE.com")
    message = await channels.message("s2")
    assert await channels.states("s2") == ["SUPPRESSED"]
    assert (message.reason, message.detail) == (reason_pb2.REASON_ENDPOINT_SUPPRESSED, "its person was erased")
    assert channels.provider.sent == ["s1"]
    await channels.another().gate.suppressions.lift(KEYS[0], channels.clock.now())
    await send(channels, "s3", profile_id="new")
    await send(channels, "s4", profile_id="new", endpoint=f"{NAME}.2@example.com")
    assert await channels.states("s3", "s4") == ["SENT", "SUPPRESSED"]


async def test_the_same_endpoint_in_another_workspace_or_channel_is_another_one(channels: Channels) -> None:
    await channels.library.publish(
        "other", "welcome", convert.content_of((await channels.library.read(("demo", "welcome", 0))).body), "", 0
    )
    await send(channels, "mine", workspace_id="other")
    await people(channels).erase(ANA)
    await send(channels, "s1", workspace_id="other")
    assert channels.provider.sent == ["mine", "s1"]
    found = await channels.store.messages.get(["other/mine", "other/s1"])
    assert {convert.request_of(one.body).endpoint for one in found.values()} == {f"{NAME}@example.com"}
    assert {convert.message_of(key, one.body).state.name for key, one in found.items()} == {"SENT"}
    push = convert.suppression_key("demo", messaging_pb2.CHANNEL_PUSH, f"{NAME}@example.com")
    assert await channels.gate.suppressions.holding([push], channels.clock.now()) == {}


async def test_the_salt_is_random_and_each_workspaces_own(channels: Channels) -> None:
    now = channels.clock.now()
    both = [convert.suppression_key(workspace, EMAIL, f"{NAME}@example.com") for workspace in ("a", "b")]
    others = [channels.another().gate.suppressions for _ in range(4)]
    await asyncio.gather(*(one.hide(both, now) for one in others))
    salts = {one.id: one.body["salt"] for one in (await channels.store.salts.scan(limit=10)).documents}
    assert sorted(salts) == ["a", "b"]
    assert salts["a"] != salts["b"]
    assert {len(salt) for salt in salts.values()} == {32}
    hashes = [one.id.split("/") for one in (await channels.store.suppressions.scan(limit=10)).documents]
    assert [parts[:2] for parts in hashes] == [["a", "erased"], ["b", "erased"]]
    assert hashes[0][2] != hashes[1][2]
    assert set(await channels.gate.suppressions.holding(both, now)) == set(both)


async def test_a_workspace_that_was_deleted_and_comes_again_has_another_salt(channels: Channels) -> None:
    """Another replica deletes it; these have the former salt in memory, for another second at most."""
    here, there, elsewhere = (channels.another().gate.suppressions for _ in range(3))
    await here.hide(KEYS, channels.clock.now())
    assert set(await elsewhere.holding(KEYS, channels.clock.now())) == set(KEYS)
    for collection in (channels.store.suppressions, channels.store.salts):
        await collection.delete([one.id for one in (await collection.scan(limit=10)).documents])
    there.forget("demo")
    assert await there.holding(KEYS, channels.clock.now()) == {}
    await here.hide(KEYS, channels.clock.now())
    assert set(await there.holding(KEYS, channels.clock.now())) == set(KEYS)
    channels.clock.advance(SECOND)
    assert set(await elsewhere.holding(KEYS, channels.clock.now())) == set(KEYS)


OUTCOMES: dict[str, Outcome] = {
    "SENT": Scripted.accepted,
    "FAILED": Rejected(f"550 {NAME}", endpoint_invalid=True),
    "CANCELLED": Deferred(f"450 {NAME}"),
    "UNKNOWN": Unknown(f"lost {NAME}"),
}


@pytest.mark.parametrize("state", OUTCOMES)
@pytest.mark.parametrize("policy", [messaging_pb2.UNKNOWN_POLICY_PARK, messaging_pb2.UNKNOWN_POLICY_RESEND])
async def test_a_message_at_the_provider_ends_as_the_call_does(channels: Channels, state: str, policy: int) -> None:
    async def erase() -> None:
        assert await channels.states("s1") == ["SENDING"]
        assert await people(channels.another()).erase(ANA) == {"messages": 1, "suppressions": 0}
        assert await remembered(channels.store) == []

    channels.provider.meanwhile = erase
    channels.provider.outcomes["s1"] = OUTCOMES[state]
    await send(channels, "s1", unknown_policy=policy)
    assert await channels.states("s1") == [state]
    assert channels.published.settled() == [("s1", state)]
    channels.clock.advance(3600 * SECOND)
    await channels.due()
    assert channels.provider.sent == ["s1"]
    assert await remembered(channels.store) == []
    held = await channels.gate.suppressions.holding(KEYS, channels.clock.now())
    assert {body["reason"] for body in held.values()} == {"its person was erased"}


async def test_a_message_that_was_asked_about_before_the_marker_is_not_sent(channels: Channels) -> None:
    """Erased between the gate and the commit."""
    asked = channels.gate.ask

    async def ask(works: Any, now: int) -> Any:
        result = await asked(works, now)
        await people(channels.another()).erase(ANA)
        return result

    channels.gate.ask = ask  # type: ignore[method-assign]
    await send(channels, "s1")
    assert channels.provider.sent == []
    assert channels.published.settled() == [("s1", "CANCELLED")]
    assert await remembered(channels.store) == []


async def test_a_bounce_that_is_recorded_beside_the_erasure_names_nobody(channels: Channels) -> None:
    """Erased between the look and the write."""
    collection = channels.store.suppressions
    suppressions = channels.gate.suppressions

    class Overtaken:
        """Somebody is erased right before the first write."""

        done = False

        def __getattr__(self, name: str) -> Any:
            return getattr(collection, name)

        async def put(self, documents: Any) -> Any:
            if not self.done:
                self.done = True
                assert await people(channels.another()).erase(ANA) == {"messages": 0, "suppressions": 0}
            return await collection.put(documents)

    suppressions._collection = Overtaken()  # type: ignore[assignment]
    held = await suppressions.add({KEYS[0]: f"550 {NAME}"}, channels.clock.now())
    assert [body["reason"] for body in held.values()] == ["its person was erased"]
    assert await remembered(channels.store) == []


async def test_while_the_broker_is_away_all_is_erased_and_told_later(channels: Channels) -> None:
    await leave(channels, "s1", 1)
    channels.published.away = True
    with pytest.raises(BrokerUnavailable):
        await people(channels).erase(ANA)
    channels.published.away = False
    await people(channels).erase(ANA)
    assert await remembered(channels.store) == []
    await send(channels, "s1")
    assert channels.published.settled() == [("s1", "CANCELLED")]
    assert channels.provider.sent == []


@pytest.mark.parametrize("seed", range(5))
async def test_erasing_among_workers(channels: Channels, seed: int) -> None:
    """Many workers send to Ana while she's erased, and each batch is written in any order."""
    chance = random.Random(seed)
    ids = [f"s{number}" for number in range(24)]
    torn = Store(*(OneByOne(getattr(channels.store, field.name), chance) for field in fields(Store)))
    workers = [channels.another(torn) for _ in range(3)]
    for send_id in chance.sample(ids, 8):
        channels.provider.outcomes[send_id] = chance.choice([*OUTCOMES.values()])

    async def erase() -> None:
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        await people(channels.another(torn)).erase(ANA)

    async def work(worker: Channels) -> None:
        for start in range(0, len(ids), 8):
            await send(worker, *ids[start : start + 8])

    await asyncio.gather(erase(), *map(work, workers))
    asked = len(channels.provider.sent)
    channels.provider.outcomes.clear()
    channels.clock.advance(3600 * SECOND)
    await asyncio.gather(*(worker.due() for worker in workers))
    assert len(channels.provider.sent) == asked
    assert len(set(channels.provider.sent)) == asked
    assert await remembered(channels.store) == []
    for send_id, state in zip(ids, await channels.states(*ids), strict=True):
        assert state in OUTCOMES or state == "SUPPRESSED"
        assert (send_id, state) in channels.published.settled()
        assert state != "SENT" or send_id in channels.provider.sent


async def test_what_is_held_is_shown_in_pages(channels: Channels) -> None:
    await correspond(channels)
    messages, suppressions = people(channels).held
    assert (messages.kind, suppressions.kind) == ("messages", "suppressions")

    async def shown(held: Any, limit: int) -> list[Any]:
        found, after = [], ""
        while True:
            page, after = await held.page(ANA, limit, after)
            assert len(page) <= limit
            found += page
            if not after:
                return found

    for limit in (1, 3, 100):
        assert sorted(message.send_id for message in await shown(messages, limit)) == sorted(ALL)
        found = await shown(suppressions, limit)
        assert [one.endpoint for one in found] == [f"{NAME}@example.com", f"{NAME}.2@example.com"]
    assert [one.reason for one in found] == [f"{NAME} asked by phone", f"550 no such user {NAME}"]
    await people(channels).erase(ANA)
    assert await shown(messages, 100) == []
    assert {one.reason for one in await shown(suppressions, 100)} == {"its person was erased"}
