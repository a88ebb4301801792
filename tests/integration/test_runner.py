"""Runs as events begin them and time moves them on, in the embedded store; segments answer as they're told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from camino.orchestrator.v1 import journey_pb2

from services.chassis.clock import DAY, MINUTE, SECOND
from services.chassis.documents import Document
from tests.orchestrating import Bench, condition, orchestrating, send, wait


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with orchestrating(tmp_path) as bench:
        yield bench


async def test_an_event_that_comes_again_begins_decides_and_owes_nothing(bench: Bench) -> None:
    await bench.publish(send("hello"))
    await bench.trigger("e1")
    bench.clock.advance(MINUTE)
    await bench.trigger("e1")
    assert len(await bench.runs()) == 1
    assert len(bench.owed) == 1
    assert len(await bench.decisions()) == 1
    await bench.trigger("e2")
    assert len(await bench.runs()) == len(bench.owed) == len(await bench.decisions()) == 2


async def test_who_enters_once_is_decided_once_whatever_comes_later(bench: Bench) -> None:
    await bench.publish(send("hello"), once=True)
    for number in range(3):
        await bench.trigger(f"e{number}")
        bench.clock.advance(DAY)
    assert len(await bench.runs()) == len(bench.owed) == len(await bench.decisions()) == 1


@pytest.mark.parametrize("behind", [0, 1, 3])
async def test_a_run_waits_where_it_is_for_segments_that_have_not_seen_its_event(bench: Bench, behind: int) -> None:
    await bench.publish(send("hello", "vip"), condition("vip", "more"), send("more"))
    bench.segments.behind = behind
    await bench.trigger("e1")
    for _ in range(behind):
        [run] = await bench.runs()
        assert await bench.decisions() == []  # nothing happened yet
        assert run.body["wake_at"] == bench.hints[-1] > bench.clock.now()
        bench.clock.advance(run.body["wake_at"] - bench.clock.now())
        # As after a restart, older versions are known by their documents.
        await bench.wake()
    assert len(bench.owed) == len(await bench.decisions()) == 2
    [run] = await bench.runs()
    assert run.body["wake_at"] is None
    assert bench.segments.checks == behind + 1


async def test_a_run_goes_on_after_its_wait_and_not_twice(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1")
    [due] = await bench.runs()
    bench.clock.advance(59 * SECOND)
    await bench.wake()
    assert bench.owed == []
    bench.clock.advance(SECOND)
    before = await bench.runs()
    await bench.runner.woken(before)
    assert len(bench.owed) == 1
    # Someone who read the run before it went on loses to who moved it, and owes nothing.
    await bench.runner.woken([Document(due.id, due.body, due.rev)])
    assert len(bench.owed) == 1


async def test_a_run_that_changed_while_it_was_woken_is_due_again_at_once(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1")
    [stale] = await bench.runs()
    [other] = await bench.runs()
    await bench.store.runs.put([other])  # the end of a message came in, say
    bench.clock.advance(MINUTE)
    bench.hints.clear()
    await bench.runner.woken([stale])
    assert bench.owed == []
    assert bench.hints == [bench.clock.now()]


# --- after the workspace was deleted ----------------------------------------------------------------------------------


async def test_a_run_whose_journey_was_deleted_ends_and_holds_up_nobody(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1")
    await bench.trigger("e2")
    [stranded, other] = await bench.runs()
    await bench.store.runs.put([Document(stranded.id, {**stranded.body, "journey": "shop/gone"}, stranded.rev)])
    bench.clock.advance(MINUTE)
    await bench.wake()
    after = {run.id: run.body for run in await bench.runs()}
    assert after[stranded.id]["state"] == journey_pb2.RUN_STATE_FAILED
    assert after[stranded.id]["wake_at"] is None
    assert after[other.id]["state"] == journey_pb2.RUN_STATE_COMPLETED
    assert len(bench.owed) == 1


async def test_a_journey_that_another_replica_deletes_takes_nobody_in_after_the_next_look(bench: Bench) -> None:
    document = await bench.publish(send("hello"))
    await bench.store.journeys.put([document])
    await bench.registry.refresh()
    await bench.trigger("e1")
    await bench.store.journeys.delete([document.id])
    await bench.registry.refresh()
    await bench.trigger("e2")
    assert len(await bench.runs()) == 1


async def test_a_journey_published_anew_is_not_taken_for_its_old_self(bench: Bench) -> None:
    """Another replica deletes it and publishes one of the same name, also as version 1, between two looks."""
    document = await bench.publish(send("old"))
    await bench.store.journeys.put([document])
    await bench.trigger("e1")
    await bench.store.journeys.delete([document.id])
    bench.clock.advance(SECOND)
    elsewhere = bench.another()
    await bench.store.journeys.put([await elsewhere.publish(send("new"))])
    await bench.registry.refresh()
    await bench.trigger("e2")
    sent = {sends[0][1] for sends in (run.body["sends"] for run in await bench.runs())}
    assert sent == {"old", "new"}
