"""Erasing people from the orchestrator: nothing personal is left, nothing is sent, nothing begins, and numbers hold."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import bson
import pytest
from camino.channels.v1 import message_pb2
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1 import decision_pb2, journey_pb2
from google.protobuf.message import Message

from services.chassis.clock import HOUR, MINUTE
from services.chassis.documents import Document
from services.chassis.errors import StoreUnavailable
from services.chassis.personal_data import Subject
from services.orchestrator import convert
from services.orchestrator.campaigns import shard
from services.orchestrator.erasing import Erasing
from services.orchestrator.personal_data import OrchestratorPersonalData
from services.orchestrator.settling import Settling
from services.orchestrator.store import SCHEMAS, Store
from tests.orchestrating import Bench, orchestrating, send, wait

ERASED = journey_pb2.RUN_STATE_ERASED


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with orchestrating(tmp_path) as bench:
        yield bench


async def erase(bench: Bench, profile_id: str) -> dict[str, int]:
    """Erase somebody as the profile service does: first it asks, and the profile goes at the end."""
    ids = bench.people.told(profile_id)
    counts = await asked(bench, ids.profile_id, *ids.merged_profile_ids)
    bench.people.erase(profile_id)
    return counts


async def asked(bench: Bench, *profile_ids: str) -> dict[str, int]:
    data = OrchestratorPersonalData(bench.store, bench.erasing)
    return {kind: count for kind, count in (await data.erase(Subject("shop", profile_ids, ()))).items() if count}


async def everything(store: Store) -> list[tuple[str, str, Mapping[str, Any]]]:
    found = []
    for schema in SCHEMAS:
        page = await getattr(store, schema.name).scan(limit=1000)
        found += [(schema.name, document.id, document.body) for document in page.documents]
    return found


async def mentions(store: Store, *words: str) -> list[str]:
    """What in the store has one of these words in it."""
    return [
        f"{name} {id_}"
        for name, id_, body in await everything(store)
        if any(word.encode() in id_.encode() + bson.encode(body) for word in words)
    ]


def settled(source_key: str, send_id: str) -> MessageSettled:
    return MessageSettled(
        workspace_id="shop", send_id=send_id, source_key=source_key, state=message_pb2.MESSAGE_STATE_SENT
    )


# --- runs -------------------------------------------------------------------------------------------------------------


async def test_runs_end_with_nothing_personal_left(bench: Bench) -> None:
    await bench.publish(send("hello", "sleep"), wait("sleep", 60, "more"), send("more"))
    await bench.trigger("e-secret", "young")
    bench.people.merge("old", "young")
    await bench.trigger("f-secret", "old")
    await bench.trigger("g", "other")
    assert await mentions(bench.store, "young@example.com", "e-secret", "f-secret", "corner")
    assert await erase(bench, "old") == {"runs": 2, "decisions": 2}
    assert await mentions(bench.store, "young@", "old@", "name of young", "name of old", "e-secret", "f-secret") == []
    by_profile = {run.body["profile"]: run for run in await bench.runs()}
    assert {name: run.body["state"] for name, run in by_profile.items()} == {"young": ERASED, "old": ERASED, "other": 1}
    shown = convert.wire_run("shop", "r", by_profile["old"].body)
    assert (shown.profile_id, shown.journey_id, shown.journey_version) == ("old", "j", 1)
    assert shown.end_time.ToMicroseconds() == bench.clock.now()
    assert (shown.step_id, list(shown.sends), shown.end_reason, shown.HasField("wake_time")) == ("", [], "", False)
    # Nobody else's came to harm, and nothing of theirs is due.
    bench.clock.advance(MINUTE)
    due = await bench.store.runs.query("wake", by_profile["other"].body["partition"], limit=10)
    assert [run.body["profile"] for run in due.documents] == ["other"]
    bench.owed.clear()
    await bench.wake()
    assert bench.sent_to() == ["other"]


async def test_what_the_broker_has_of_their_runs_is_purged_and_of_others_isn_t(bench: Bench) -> None:
    await bench.publish(send("hello"))
    for name in ("ana", "ben"):
        await bench.trigger(f"e-{name}", name)
    [owing] = [run for run in await bench.runs() if run.body["profile"] == "ana"]
    await erase(bench, "ana")
    assert bench.purged == [f"shop/run:{owing.id.partition('/')[2]}"]


async def test_runs_that_had_ended_keep_their_time(bench: Bench) -> None:
    await bench.publish(send("hello"))
    await bench.trigger("e1", "ana")
    ended = bench.clock.now()
    [run] = await bench.runs()
    await Settling(bench.store).settled([settled(wire.source_key, wire.send_id) for wire in bench.owed])
    bench.clock.advance(HOUR)
    assert await erase(bench, "ana") == {"runs": 1, "decisions": 1}
    [erased] = await bench.runs()
    assert (erased.body["created"], erased.body["ended"]) == (run.body["created"], ended)
    assert bench.purged == []  # its message had ended


async def test_the_end_of_a_message_that_comes_late_does_no_harm(bench: Bench) -> None:
    await bench.publish(send("hello"))
    await bench.trigger("e1", "ana")
    await bench.campaign(["ana", "ben"])
    await bench.turn()
    await erase(bench, "ana")
    before = await everything(bench.store)
    ends = [settled(wire.source_key, wire.send_id) for wire in bench.owed if wire.profile_id == "ana"]
    assert len(ends) == 2
    assert await Settling(bench.store).settled(ends) == {}
    assert await everything(bench.store) == before


async def test_ids_of_another_workspace_are_somebody_else_s(bench: Bench) -> None:
    await bench.publish(send("hello"))
    await bench.trigger("e1", "ana")
    data = OrchestratorPersonalData(bench.store, bench.erasing)
    assert sum((await data.erase(Subject("elsewhere", ("ana",), ()))).values()) == 0
    [run] = await bench.runs()
    assert run.body["owed"]


# --- what is still under way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [False, True])
async def test_facts_that_come_late_begin_nothing(bench: Bench, once: bool) -> None:
    await bench.publish(send("hello"), once=once)
    facts = [bench.people.fact("e1", "young")]
    bench.people.merge("old", "young")
    facts += [bench.people.fact("e2", "old"), bench.people.fact("e1", "young")]
    await erase(bench, "old")
    await bench.take(*facts)
    for fact in facts:
        await bench.take(fact)
    assert bench.owed == []
    assert await bench.runs() == await bench.decisions() == []


class Interrupted:
    """A collection where something happens before its nth write."""

    def __init__(self, inner: Any, at: int, happens: Callable[[], Awaitable[object]]) -> None:
        self._inner = inner
        self._left = at
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, documents: list[Document]) -> Any:
        self._left -= 1
        if self._left == 0:
            await self._happens()
        return await self._inner.put(documents)


def interrupted(bench: Bench, collection: str, happens: Callable[[], Awaitable[object]]) -> Bench:
    """The same bench, where something happens just before a collection's first write."""
    names = [schema.name for schema in SCHEMAS]
    parts = {name: getattr(bench.store, name) for name in names}
    parts[collection] = Interrupted(parts[collection], 1, happens)
    return Bench(Store(**parts), bench.clock, bench.people, bench.profiles)


@pytest.mark.parametrize("at", ["runs", "decisions"])
async def test_a_run_that_begins_while_its_person_is_erased_is_erased(bench: Bench, at: str) -> None:
    fact = bench.people.fact("e-secret", "ana")
    racing = interrupted(bench, at, lambda: erase(bench, "ana"))
    await racing.publish(send("hello"))
    await racing.take(fact)
    assert racing.owed == []
    assert await mentions(bench.store, "ana@", "e-secret") == []
    assert await bench.states() == {"ana": ERASED}
    assert await bench.decisions() == []


async def test_a_run_that_was_begun_by_a_process_that_died_then_is_erased_when_its_fact_comes_again(
    bench: Bench,
) -> None:
    await bench.publish(send("hello"))
    fact = bench.people.fact("e-secret", "ana")
    await bench.take(fact)
    await bench.erasing.mark(["shop/ana"])
    assert await mentions(bench.store, "ana@")
    await bench.take(fact)
    assert await mentions(bench.store, "ana@", "e-secret") == []
    assert await bench.states() == {"ana": ERASED}


async def test_a_run_that_wakes_while_its_person_is_erased_decides_nothing(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1", "ana")
    [due] = await bench.runs()
    await asked(bench, "ana")  # the profile is still there
    bench.clock.advance(MINUTE)
    await bench.runner.woken([due])
    await bench.wake()
    assert bench.owed == []
    assert await bench.decisions() == []
    assert await bench.states() == {"ana": ERASED}


async def test_what_is_owed_to_somebody_erased_is_not_requested_again(bench: Bench) -> None:
    """A process may have died between writing it and seeing the marker."""
    await bench.publish(send("hello"))
    for name in ("ana", "ben"):
        await bench.trigger(f"e-{name}", name)
    await bench.campaign(["ana", "ben"])
    await bench.turn()
    await bench.erasing.mark(["shop/ana"])
    runs = await bench.erasing.owing_runs(await bench.runs())
    assert [run.body["profile"] for run in runs] == ["ben"]
    [left] = await bench.erasing.owing_shards([await bench.shard()])
    assert len(left.body["owed"]) == 1
    assert await mentions(bench.store, "ana@") == []
    # Those of others come as they are.
    assert await bench.erasing.owing_runs(runs) == runs
    assert await bench.erasing.owing_shards([left]) == [left]


# --- campaigns --------------------------------------------------------------------------------------------------------


async def test_somebody_erased_counts_as_dropped(bench: Bench) -> None:
    await bench.campaign(["ana", "ben", "eva"], ["ana2", "leo"])
    await bench.turn(0)
    bench.people.merge("ana", "ana2")
    assert await erase(bench, "ana") == {"recipients": 1, "decisions": 1}
    assert await mentions(bench.store, "ana@", "ana2@") == []
    await bench.turn(1)
    assert bench.sent_to() == ["ana", "ben", "eva", "leo"]
    counts = await bench.counts()
    assert (counts.total, counts.decided, counts.owed, counts.held) == (5, 5, 3, 0)
    assert dict(counts.dropped) == {"erased": 2}
    assert bench.purged == ["shop/shard:occurrence/000000"]
    # Once the others' messages have ended, it's through.
    await Settling(bench.store).settled([settled(wire.source_key, wire.send_id) for wire in bench.owed])
    counts = await bench.counts()
    assert dict(counts.ended) == {"sent": 3}
    assert [(await bench.shard(number)).body["open"] for number in (0, 1)] == [0, 0]
    assert len(await bench.decisions()) == 3  # none about who was erased


async def test_somebody_who_was_held_is_not_any_more(bench: Bench) -> None:
    await bench.campaign(["ana", "ben"], quiet=True)
    await bench.turn()
    assert await erase(bench, "ana") == {"recipients": 1, "decisions": 1}
    counts = await bench.counts()
    assert (counts.decided, counts.held, dict(counts.dropped)) == (1, 1, {"erased": 1})
    bench.clock.advance(HOUR)
    await bench.turn()
    assert bench.sent_to() == ["ben"]
    counts = await bench.counts()
    assert (counts.decided, counts.held, counts.owed, dict(counts.dropped)) == (2, 0, 1, {"erased": 1})


async def test_the_last_who_is_owed_closes_the_shard_when_erased(bench: Bench) -> None:
    await bench.campaign(["ana"])
    await bench.turn()
    await erase(bench, "ana")
    found = await bench.shard()
    assert (found.body["open"], found.body["resend_at"]) == (0, None)
    counts = await bench.counts()
    assert (counts.decided, counts.owed, dict(counts.dropped)) == (1, 0, {"erased": 1})


async def test_a_message_of_unknown_end_stays_counted_and_is_forgotten(bench: Bench) -> None:
    await bench.campaign(["ana", "ben"])
    await bench.turn()
    [wire] = [wire for wire in bench.owed if wire.profile_id == "ana"]
    end = settled(wire.source_key, wire.send_id)
    end.state = message_pb2.MESSAGE_STATE_UNKNOWN
    await Settling(bench.store).settled([end])
    await erase(bench, "ana")
    assert await mentions(bench.store, "ana@") == []
    counts = await bench.counts()
    assert (counts.owed, dict(counts.dropped), dict(counts.ended)) == (2, {}, {"unknown": 1})


@pytest.mark.parametrize("at", ["shards", "decisions"])
async def test_a_shard_that_decides_for_somebody_while_they_are_erased_sends_nothing(bench: Bench, at: str) -> None:
    await bench.campaign(["ana", "ben"])
    racing = interrupted(bench, at, lambda: asked(bench, "ana"))
    await racing.turn()
    if not racing.owed:
        await racing.turn()
    assert racing.sent_to() == ["ben"]
    assert await mentions(bench.store, "ana@") == []
    assert [record.body["profile"] for record in await bench.decisions()] == ["shop/ben"]
    counts = await bench.counts()
    assert (counts.decided, counts.owed, dict(counts.dropped)) == (2, 1, {"erased": 1})


# --- again and again --------------------------------------------------------------------------------------------------


class Breaking:
    """A collection that fails at its nth change, before it's done."""

    def __init__(self, inner: Any, left: list[int]) -> None:
        self._inner = inner
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, documents: list[Document]) -> Any:
        self._count()
        return await self._inner.put(documents)

    async def delete(self, ids: list[str]) -> int:
        self._count()
        return int(await self._inner.delete(ids))

    def _count(self) -> None:
        self._left[0] -= 1
        if self._left[0] < 0:
            raise StoreUnavailable("away")


async def test_what_breaks_off_anywhere_is_completed_by_the_next(bench: Bench) -> None:
    await bench.publish(send("hello"))
    for broken_at in itertools.count():
        name = f"ana{broken_at}"
        await bench.trigger(f"e{broken_at}", name)
        await bench.campaign([name, "ben"])
        await bench.turn()
        left = [broken_at]
        parts: dict[str, Any] = {schema.name: Breaking(getattr(bench.store, schema.name), left) for schema in SCHEMAS}
        breaking = Erasing(Store(**parts), bench.clock, bench.purge)
        subject = Subject("shop", (name,), ())
        try:
            await OrchestratorPersonalData(Store(**parts), breaking).erase(subject)
            whole = True
        except StoreUnavailable:
            whole = False
            await asked(bench, name)
        assert await mentions(bench.store, f"{name}@", f"name of {name}") == []
        assert dict((await bench.counts()).dropped) == {"erased": 1}
        assert [one for one in await bench.decisions() if one.body["profile"] == f"shop/{name}"] == []
        assert await asked(bench, name) == {}
        if whole:
            break
        for collection in (bench.store.shards, bench.store.audiences, bench.store.campaigns, bench.store.decisions):
            await collection.delete([document.id for document in (await collection.scan(limit=100)).documents])
    assert broken_at >= 4


# --- what is held -----------------------------------------------------------------------------------------------------


async def listed(bench: Bench, *profile_ids: str, limit: int = 2) -> dict[str, list[Message]]:
    """All that is held, read in small pages."""
    data = OrchestratorPersonalData(bench.store, bench.erasing)
    found: dict[str, list[Message]] = {}
    for held in data.held:
        after = ""
        while True:
            things, after = await held.page(Subject("shop", profile_ids, ()), limit, after)
            assert len(things) <= limit
            found.setdefault(held.kind, []).extend(things)
            if not after:
                break
    return found


async def test_what_is_held_is_shown_as_the_api_shows_it(bench: Bench) -> None:
    await bench.publish(send("hello"))
    for number, name in enumerate(["young", "old", "other", "young", "old", "young"]):
        await bench.trigger(f"e{number}", name)
    await bench.campaign(["old", "other"])
    await bench.turn()
    found = await listed(bench, "old", "young", "nobody")
    runs: Any = found["runs"]
    assert sorted(run.profile_id for run in runs) == ["old"] * 2 + ["young"] * 3
    assert all(isinstance(run, journey_pb2.Run) for run in runs)
    shown: Any = found["decisions"]
    assert sorted(decision.profile_id for decision in shown) == ["old"] * 3 + ["young"] * 3
    assert all(isinstance(decision, decision_pb2.Decision) for decision in shown)
    assert len({decision.decision_id for decision in shown}) == 6


async def test_nothing_is_held_of_who_was_erased(bench: Bench) -> None:
    await bench.publish(send("hello"))
    for number in range(3):
        await bench.trigger(f"e{number}", "ana")
    await erase(bench, "ana")
    assert await listed(bench, "ana") == {"runs": [], "decisions": []}


def test_those_whose_turn_has_yet_to_come_stay_where_they_are() -> None:
    """Places count from the beginning of the shard."""
    body = shard.new("shop/o", "shop/c", 0, 3, 0, 0)
    assert shard.without(body, ["ana", "ben", "eva"], {"ana"}) is None
