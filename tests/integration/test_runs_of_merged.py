"""Runs of people whose profiles merge while they walk, and of facts that were under way when they did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from camino.orchestrator.v1 import journey_pb2

from services.chassis.clock import MINUTE, SECOND
from services.orchestrator import convert
from tests.orchestrating import Bench, condition, orchestrating, send, wait

COMPLETED, MERGED = journey_pb2.RUN_STATE_COMPLETED, journey_pb2.RUN_STATE_MERGED


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with orchestrating(tmp_path) as bench:
        yield bench


async def later(bench: Bench) -> None:
    """The next time that a run which waits a minute goes on."""
    bench.clock.advance(MINUTE)
    await bench.wake()


# --- a run goes on for whoever its profile is now ---------------------------------------------------------------------


async def test_a_run_goes_on_for_the_survivor(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "vip"), condition("vip", "hello"), send("hello"))
    await bench.trigger("e1", "young")
    bench.people.merge("old", "young")
    await later(bench)
    [request] = bench.owed
    assert (request.profile_id, request.endpoint) == ("old", "old@example.com")
    assert request.profile["name"].string_value == "name of old"
    assert bench.segments.asked == ["old"]
    [run] = await bench.runs()
    assert (run.body["profile"], run.body["state"]) == ("young", COMPLETED)


async def test_the_survivor_s_refusal_holds_for_the_run_of_the_other(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    await bench.trigger("e1", "young")
    bench.people.merge("old", "young")
    survivor = bench.people.now("old")
    assert survivor
    del survivor.consents[:]
    await later(bench)
    assert bench.owed == []
    [run] = await bench.runs()
    assert run.body["sends"][0][2] == "dropped: consent"


async def test_runs_of_two_who_became_one_are_one_read(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"))
    for number, name in enumerate(("young", "old", "younger")):
        await bench.trigger(f"e{number}", name)
    bench.people.merge("old", "young")
    bench.people.merge("old", "younger")
    await later(bench)
    assert bench.people.asked == 1
    # Each trigger is a run of its own.
    assert bench.sent_to() == ["old"] * 3


# --- always: one run for each event -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["before", "after"])
@pytest.mark.parametrize("together", [False, True])
async def test_an_event_told_before_and_after_a_merge_begins_one_run(bench: Bench, first: str, together: bool) -> None:
    await bench.publish(send("hello"))
    facts = [bench.people.fact("e1", "young")]
    bench.people.merge("old", "young")
    facts.append(bench.people.fact("e1", "young"))
    assert [fact.event.profile_id for fact in facts] == ["young", "old"]
    if first == "after":
        facts.reverse()
    if together:
        await bench.take(*facts)
    else:
        for fact in facts:
            await bench.take(fact)
    assert len(await bench.runs()) == len(bench.owed) == 1


async def test_two_events_of_one_person_are_two_runs_also_across_a_merge(bench: Bench) -> None:
    await bench.publish(send("hello"))
    await bench.trigger("e1", "young")
    bench.people.merge("old", "young")
    await bench.trigger("e2", "young")
    assert bench.sent_to() == ["young", "old"]
    assert bench.people.asked == 0  # nobody is asked for what facts tell


# --- once: for the person ---------------------------------------------------------------------------------------------


async def test_who_entered_under_another_id_enters_no_more(bench: Bench) -> None:
    await bench.publish(send("hello"), once=True)
    await bench.trigger("e1", "young")
    bench.people.merge("old", "young")
    bench.people.merge("oldest", "old")
    for number, name in enumerate(("oldest", "old", "young")):
        await bench.trigger(f"f{number}", name)
    assert bench.sent_to() == ["young"]
    assert len(await bench.runs()) == 1


@pytest.mark.parametrize("together", [False, True])
async def test_a_fact_that_was_under_way_when_its_profile_merged_begins_no_second_run(
    bench: Bench, together: bool
) -> None:
    await bench.publish(send("hello"), once=True)
    under_way = bench.people.fact("e1", "young")
    bench.people.merge("old", "young")
    facts = [bench.people.fact("e2", "old"), under_way]
    if together:
        await bench.take(*facts)
    else:
        for fact in facts:
            await bench.take(fact)
    assert bench.sent_to() == ["old"]
    assert len(await bench.runs()) == 1


async def test_the_first_fact_after_a_merge_enters_the_survivor(bench: Bench) -> None:
    await bench.publish(send("hello"), once=True)
    under_way = bench.people.fact("e1", "young")
    bench.people.merge("old", "young")
    await bench.take(under_way)
    assert bench.sent_to() == ["old"]
    assert list(await bench.states()) == ["old"]
    await bench.take(under_way)
    await bench.trigger("e2", "old")
    assert bench.sent_to() == ["old"]


async def test_people_are_asked_for_once_for_each_batch_and_not_when_they_have_entered(bench: Bench) -> None:
    await bench.publish(send("hello"), once=True)
    await bench.take(*(bench.people.fact(f"e{number}", f"p{number}") for number in range(20)))
    assert bench.people.asked == 1
    assert len(bench.owed) == 20
    await bench.take(*(bench.people.fact(f"f{number}", f"p{number}") for number in range(20)))
    assert bench.people.asked == 1


@pytest.mark.parametrize("earlier", ["old", "young"])
async def test_of_two_who_were_both_inside_the_one_who_began_first_goes_on(bench: Bench, earlier: str) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"), once=True)
    second = "young" if earlier == "old" else "old"
    await bench.trigger("e1", earlier)
    bench.clock.advance(SECOND)
    await bench.trigger("e2", second)
    bench.people.merge("old", "young")
    await later(bench)
    assert await bench.states() == {earlier: COMPLETED, second: MERGED}
    assert bench.sent_to() == ["old"]
    [ended] = [run.body for run in await bench.runs() if run.body["profile"] == second]
    [first] = [run.id.partition("/")[2] for run in await bench.runs() if run.body["profile"] == earlier]
    assert ended["end_reason"] == f"the same person's run {first} began before"
    assert (ended["ended"], ended["wake_at"], ended["sends"]) == (bench.clock.now(), None, [])


async def test_of_runs_that_began_at_the_same_instant_the_lesser_id_goes_on(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"), once=True)
    names = ["a", "b", "c", "d"]
    await bench.take(*(bench.people.fact(f"e-{name}", name) for name in names))
    for name in names[1:]:
        bench.people.merge("a", name)
    await later(bench)
    began = min(await bench.runs(), key=lambda run: run.id)
    assert await bench.states() == dict.fromkeys(names, MERGED) | {began.body["profile"]: COMPLETED}
    assert bench.sent_to() == ["a"]


async def test_one_who_is_through_already_ends_the_run_of_the_other(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"), once=True)
    await bench.trigger("e1", "young")
    await later(bench)
    await bench.trigger("e2", "old")
    bench.people.merge("old", "young")
    await later(bench)
    assert await bench.states() == {"young": COMPLETED, "old": MERGED}
    assert bench.sent_to() == ["young"]


async def test_what_a_run_that_ends_as_merged_owes_is_still_owed(bench: Bench) -> None:
    await bench.publish(send("first", "sleep"), wait("sleep", 60, "second"), send("second"), once=True)
    await bench.trigger("e1", "young")
    bench.clock.advance(SECOND)
    await bench.trigger("e2", "old")
    bench.people.merge("old", "young")
    await later(bench)
    [ended] = [run.body for run in await bench.runs() if run.body["state"] == MERGED]
    assert len(ended["owed"]) == 1
    assert ended["resend_at"]
    assert bench.sent_to() == ["young", "old", "old"]


async def test_a_merged_run_is_shown_as_such(bench: Bench) -> None:
    await bench.publish(wait("sleep", 60, "hello"), send("hello"), once=True)
    await bench.trigger("e1", "young")
    bench.clock.advance(SECOND)
    await bench.trigger("e2", "old")
    bench.people.merge("old", "young")
    await later(bench)
    shown = {run.body["profile"]: convert.wire_run("shop", "r", run.body) for run in await bench.runs()}
    assert shown["old"].state == MERGED
    assert shown["old"].HasField("end_time")
    assert not shown["old"].HasField("wake_time")
