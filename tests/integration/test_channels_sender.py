"""The send protocol on a real store, with a clock and a provider that do as they're told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from camino.channels.v1 import template_pb2
from camino.errors.v1 import reason_pb2
from camino.type.v1 import messaging_pb2

from services.channels import convert
from services.channels.providers.base import Deferred, Rejected, Unknown
from services.channels.store import SCHEMAS, Store
from services.chassis.clock import SECOND
from services.chassis.consumer import Dead
from services.chassis.documents import Document
from services.chassis.errors import BrokerUnavailable, StoreUnavailable
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from tests.channels import RULES, Channels, Recorded, Scripted, requested


@pytest.fixture
async def channels(tmp_path: Path) -> AsyncIterator[Channels]:
    database = await SqliteDatabase.open(tmp_path / "channels.db")
    try:
        await database.migrate(SCHEMAS)
        made = Channels(Store.of(database), FakeClock(), Scripted(), Recorded())
        await made.publish_template()
        yield made
    finally:
        await database.close()


async def test_a_batch_is_sent_recorded_and_settled(channels: Channels) -> None:
    requests = [requested(channels.clock, f"s{number}") for number in range(5)]
    assert await channels.sender.handle(requests) == {}
    assert sorted(channels.provider.sent) == ["s0", "s1", "s2", "s3", "s4"]
    assert [len(call) for call in channels.provider.calls] == [2, 2, 1]
    assert sorted(channels.published.settled()) == [(f"s{number}", "SENT") for number in range(5)]
    message = await channels.message("s0")
    assert message.provider_ref == "ref-s0"
    assert [entry.state for entry in message.history] == [1, 2, 4]
    assert channels.provider.calls[0][0].subject == "Hi Ana"
    [fact] = [fact for fact in channels.published.facts if fact.message_id.startswith("demo/s0/")]
    assert fact.subject.startswith("camino.channels.v1.MessageSettled.demo.")
    assert fact.subject.endswith(".run:s0")


async def test_what_it_said_is_forgotten_once_it_has_ended(channels: Channels) -> None:
    channels.provider.outcomes["s2"] = Unknown("lost")
    await channels.sender.handle([requested(channels.clock, "s1"), requested(channels.clock, "s2")])
    bodies = await channels.store.messages.get(["demo/s1", "demo/s2"])
    assert b"Ana" not in bodies["demo/s1"].body["request"]
    assert b"Ana" in bodies["demo/s2"].body["request"]


async def test_a_request_that_comes_again_is_settled_again_and_not_sent(channels: Channels) -> None:
    request = requested(channels.clock, "s1")
    await channels.sender.handle([request, requested(channels.clock, "s1")])
    await channels.sender.handle([requested(channels.clock, "s1"), requested(channels.clock, "s2")])
    assert channels.provider.sent == ["s1", "s2"]
    assert channels.published.settled().count(("s1", "SENT")) == 2


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"endpoint": "OUT@example.com"}, "SUPPRESSED", "ENDPOINT_SUPPRESSED"),
        ({"lifetime": 0}, "EXPIRED", "MESSAGE_EXPIRED"),
        ({"channel": messaging_pb2.CHANNEL_PUSH}, "FAILED", "NO_PROVIDER"),
        ({"template_id": "nope"}, "FAILED", "TEMPLATE_RENDER_FAILED"),
        ({"template_version": 7}, "FAILED", "TEMPLATE_RENDER_FAILED"),
        ({"endpoint": "a@b\nc"}, "FAILED", "ENDPOINT_REJECTED"),
        ({"endpoint": ""}, "FAILED", "ENDPOINT_REJECTED"),
        ({"endpoint": "a\0b"}, "FAILED", "ENDPOINT_REJECTED"),
    ],
)
async def test_what_the_gate_refuses(channels: Channels, changes: dict[str, Any], state: str, reason: str) -> None:
    key = convert.suppression_key("demo", messaging_pb2.CHANNEL_EMAIL, "out@example.com")
    await channels.store.suppressions.put([Document(key, convert.suppression_body("by hand", 0))])
    await channels.sender.handle([requested(channels.clock, "s1", **changes), requested(channels.clock, "s2")])
    assert await channels.states("s1", "s2") == [state, "SENT"]
    assert reason_pb2.Reason.Name((await channels.message("s1")).reason) == f"REASON_{reason}"
    assert channels.provider.sent == ["s2"]
    assert ("s1", state) in channels.published.settled()


async def test_one_person_without_a_value_fails_alone_and_says_where(channels: Channels) -> None:
    request = requested(channels.clock, "s1")
    request.profile.clear()
    await channels.sender.handle([request, requested(channels.clock, "s2")])
    assert await channels.states("s1", "s2") == ["FAILED", "SENT"]
    assert (await channels.message("s1")).detail == "subject, line 1: profile.first_name is undefined"


@pytest.mark.parametrize(
    "changes",
    [
        {"send_id": ""},
        {"send_id": "a b"},
        {"workspace_id": "NO"},
        {"profile_id": ""},
        {"profile_id": "a\0b"},
        {"profile_id": "é" * 33},
        {"source_key": ""},
        {"source_key": "a.b"},
    ],
)
async def test_what_cannot_even_be_recorded_is_a_dead_letter(channels: Channels, changes: dict[str, Any]) -> None:
    bad = requested(channels.clock, **{"send_id": "bad", **changes})
    outcomes = await channels.sender.handle([bad, requested(channels.clock, "s2")])
    assert list(outcomes) == [0]
    assert isinstance(outcomes[0], Dead)
    assert channels.provider.sent == ["s2"]


async def test_a_hard_bounce_suppresses_the_endpoint(channels: Channels) -> None:
    channels.provider.outcomes["s1"] = Rejected("550 5.1.1 no such user", endpoint_invalid=True)
    channels.provider.outcomes["s2"] = Rejected("554 spam")
    await channels.sender.handle([requested(channels.clock, "s1"), requested(channels.clock, "s2")])
    assert await channels.states("s1", "s2") == ["FAILED", "FAILED"]
    again = [requested(channels.clock, f"again-{id_}", endpoint=f"{id_}@Example.com") for id_ in ("s1", "s2")]
    await channels.sender.handle(again)
    assert await channels.states("again-s1", "again-s2") == ["SUPPRESSED", "SENT"]


async def test_a_deferred_message_is_tried_again_when_due_and_hinted(channels: Channels) -> None:
    hints: list[tuple[int, int]] = []
    channels.sender.hint = lambda partition, at: hints.append((partition, at))
    channels.provider.outcomes["s1"] = Deferred("busy")
    await channels.sender.handle([requested(channels.clock, "s1")])
    assert await channels.states("s1") == ["RETRY"]
    assert channels.published.settled() == []
    [(_, at)] = hints
    await channels.due()
    assert channels.provider.sent == ["s1"]
    channels.clock.advance(at - channels.clock.now())
    channels.provider.outcomes.clear()
    await channels.due()
    message = await channels.message("s1")
    assert await channels.states("s1") == ["SENT"]
    assert (message.attempt, channels.provider.sent) == (2, ["s1", "s1"])


async def test_a_message_that_expires_while_it_waits_is_not_sent(channels: Channels) -> None:
    channels.provider.outcomes["s1"] = Deferred("busy")
    await channels.sender.handle([requested(channels.clock, "s1", lifetime=10)])
    channels.clock.advance(11 * SECOND)
    await channels.due()
    assert await channels.states("s1") == ["EXPIRED"]
    assert channels.published.settled() == [("s1", "EXPIRED")]
    assert channels.provider.sent == ["s1"]


@pytest.mark.parametrize(
    ("policy", "state", "calls"),
    [(messaging_pb2.UNKNOWN_POLICY_PARK, "UNKNOWN", 1), (messaging_pb2.UNKNOWN_POLICY_RESEND, "SENT", 2)],
)
async def test_an_unknown_outcome(channels: Channels, policy: int, state: str, calls: int) -> None:
    channels.provider.outcomes["s1"] = Unknown("no answer")
    await channels.sender.handle([requested(channels.clock, "s1", unknown_policy=policy)])
    channels.provider.outcomes.clear()
    channels.clock.advance(60 * SECOND)
    await channels.due()
    assert await channels.states("s1") == [state]
    assert len(channels.provider.calls) == calls
    assert channels.published.settled() == [("s1", state)]


async def test_a_provider_that_fails_leaves_an_unknown_outcome(channels: Channels) -> None:
    async def fail() -> None:
        raise RuntimeError("bug")

    channels.provider.meanwhile = fail
    await channels.sender.handle([requested(channels.clock, "s1")])
    assert await channels.states("s1") == ["UNKNOWN"]


async def test_a_worker_away_for_longer_than_its_lease_reports_late(channels: Channels) -> None:
    """Paused after the commit: others park the message, and its late success makes it SENT."""
    other = channels.another()

    async def pause() -> None:
        channels.clock.advance(RULES.lease)
        await other.due()
        assert await channels.states("s1") == ["UNKNOWN"]

    channels.provider.meanwhile = pause
    await channels.sender.handle([requested(channels.clock, "s1")])
    assert await channels.states("s1") == ["SENT"]
    assert channels.published.settled() == [("s1", "UNKNOWN"), ("s1", "SENT")]
    assert channels.provider.sent == ["s1"]


async def test_a_worker_away_before_the_commit_sends_nothing(channels: Channels) -> None:
    """Paused after the reservation: another takes the message over and sends it, and the fence stops the first."""
    other = channels.another()

    @asynccontextmanager
    async def paused() -> AsyncIterator[None]:
        channels.clock.advance(RULES.lease)
        await other.due()
        yield

    gate = channels.gate
    asked = gate.ask

    async def ask(works: Any, now: int) -> Any:
        result = await asked(works, now)
        async with paused():
            return result

    gate.ask = ask  # type: ignore[method-assign]
    await channels.sender.handle([requested(channels.clock, "s1")])
    assert await channels.states("s1") == ["SENT"]
    assert channels.provider.sent == ["s1"]
    assert (await channels.message("s1")).attempt == 1


async def test_many_workers_with_the_same_messages_send_each_once(channels: Channels) -> None:
    workers = [channels.another() for _ in range(4)]
    ids = [f"s{number}" for number in range(30)]
    await asyncio.gather(*(worker.sender.handle([requested(channels.clock, id_) for id_ in ids]) for worker in workers))
    channels.clock.advance(RULES.lease)
    await asyncio.gather(*(worker.due() for worker in workers))
    assert sorted(channels.provider.sent) == sorted(ids)
    assert set(await channels.states(*ids)) == {"SENT"}


async def test_two_workers_that_take_over_the_same_messages_send_each_once(channels: Channels) -> None:
    ids = [f"s{number}" for number in range(10)]
    for id_ in ids:
        channels.provider.outcomes[id_] = Deferred("busy")
    await channels.sender.handle([requested(channels.clock, id_) for id_ in ids])
    channels.provider.outcomes.clear()
    channels.provider.calls.clear()
    channels.clock.advance(60 * SECOND)
    workers = [channels.another() for _ in range(3)]
    await asyncio.gather(*(worker.due() for worker in workers))
    assert sorted(channels.provider.sent) == ids
    assert set(await channels.states(*ids)) == {"SENT"}


async def test_while_the_broker_is_away_nothing_is_sent_twice_and_all_is_settled_later(channels: Channels) -> None:
    channels.published.away = True
    with pytest.raises(BrokerUnavailable):
        await channels.sender.handle([requested(channels.clock, "s1")])
    assert await channels.states("s1") == ["SENT"]
    channels.published.away = False
    await channels.sender.handle([requested(channels.clock, "s1")])
    assert channels.published.settled() == [("s1", "SENT")]
    assert channels.provider.sent == ["s1"]


async def test_what_the_provider_said_survives_a_store_that_is_away_for_a_while(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = channels.store.messages.put
    failures = iter([None, None, StoreUnavailable("full"), StoreUnavailable("full")])

    async def unreliable(documents: Sequence[Document]) -> Any:
        error = next(failures, None)
        if error is not None:
            raise error
        return await put(documents)

    monkeypatch.setattr(channels.store.messages, "put", unreliable)
    await channels.sender.handle([requested(channels.clock, "s1")])
    assert await channels.states("s1") == ["SENT"]
    assert channels.published.settled() == [("s1", "SENT")]


async def test_a_version_that_comes_again_after_its_workspace_was_deleted_is_compiled_anew(channels: Channels) -> None:
    """Another worker deletes the template, and publishes another one under its name."""
    await channels.sender.handle([requested(channels.clock, "s1")])
    await channels.store.templates.delete(["demo/welcome"])
    content = template_pb2.TemplateContent()
    content.email.subject, content.email.text = "Dear {{ profile.first_name }}", "Hello"
    published = await channels.another().library.publish("demo", "welcome", content, "", channels.clock.now())
    assert published.body["version"] == 1
    channels.clock.advance(SECOND)
    await channels.sender.handle([requested(channels.clock, "s2")])
    assert [call[0].subject for call in channels.provider.calls] == ["Hi Ana", "Dear Ana"]


async def test_a_template_that_was_deleted_sends_nothing_more(channels: Channels) -> None:
    await channels.sender.handle([requested(channels.clock, "s1")])
    await channels.store.templates.delete(["demo/welcome"])
    channels.clock.advance(SECOND)
    await channels.sender.handle([requested(channels.clock, "s2")])
    assert channels.provider.sent == ["s1"]
    assert await channels.states("s2") == ["FAILED"]
