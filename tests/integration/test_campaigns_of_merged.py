"""Campaigns with two ids of one person in the frozen audience: one message between them, and numbers that add up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from camino.channels.v1 import message_pb2
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1 import campaign_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.clock import DAY, HOUR, MINUTE
from services.orchestrator import decisions
from services.orchestrator.domain.decision import Verdict
from services.orchestrator.settling import Settling
from tests.orchestrating import Bench, orchestrating


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with orchestrating(tmp_path) as bench:
        yield bench


async def settle(bench: Bench) -> None:
    """Every message that's owed was sent."""
    sent = message_pb2.MESSAGE_STATE_SENT
    ends = [
        MessageSettled(workspace_id="shop", send_id=wire.send_id, source_key=wire.source_key, state=sent)
        for wire in bench.owed
    ]
    assert await Settling(bench.store).settled(ends) == {}


def told(counts: campaign_pb2.Occurrence) -> dict[str, object]:
    return {
        "total": counts.total,
        "decided": counts.decided,
        "held": counts.held,
        "owed": counts.owed,
        "dropped": dict(counts.dropped),
        "ended": dict(counts.ended),
    }


@pytest.mark.parametrize("order", [["old", "young"], ["young", "old"]])
async def test_two_in_one_shard_get_one_message_and_the_second_is_dropped(bench: Bench, order: list[str]) -> None:
    await bench.campaign([order[0], "other", order[1]])
    bench.people.merge("old", "young")
    await bench.turn()
    assert sorted(bench.sent_to()) == ["old", "other"]
    await settle(bench)
    assert told(await bench.counts()) == {
        "total": 3,
        "decided": 3,
        "held": 0,
        "owed": 2,
        "dropped": {"same_person": 1},
        "ended": {"sent": 2},
    }
    assert (await bench.shard()).body["open"] == 0
    [second] = [decisions.wire(one) for one in await bench.decisions() if one.body["verdict"] == Verdict.DROP]
    assert second.profile_id == order[1]
    assert [(rule.rule, rule.input) for rule in second.rules if rule.verdict == Verdict.DROP] == [
        ("same_person", f"gets it as {order[0]}")
    ]


@pytest.mark.parametrize("order", [["old", "young"], ["young", "old"]])
@pytest.mark.parametrize("since", [0, 2 * HOUR, DAY])
async def test_two_in_different_shards_get_one_message(bench: Bench, order: list[str], since: int) -> None:
    """However long the profiles have been one: the segment may have heard of it late."""
    bench.people.merge("old", "young")
    bench.clock.advance(since)
    await bench.campaign([order[0]], [order[1]])
    await bench.turn(0)
    await bench.turn(1)
    assert bench.sent_to() == ["old"]
    assert told(await bench.counts()) | {"ended": {}} == {
        "total": 2,
        "decided": 2,
        "held": 0,
        "owed": 1,
        "dropped": {"same_person": 1},
        "ended": {},
    }


@pytest.mark.parametrize("order", [["old", "young"], ["young", "old"]])
async def test_two_in_shards_that_are_decided_at_the_same_time_get_one_message(bench: Bench, order: list[str]) -> None:
    await bench.campaign([order[0]], [order[1]])
    bench.people.merge("old", "young")
    await asyncio.gather(bench.turn(0), bench.turn(1))
    assert bench.sent_to() == ["old"]
    assert dict((await bench.counts()).dropped) == {"same_person": 1}


@pytest.mark.parametrize("order", [["old", "young"], ["young", "old"]])
async def test_who_had_a_turn_before_the_merge_gets_no_second_message(bench: Bench, order: list[str]) -> None:
    await bench.campaign([order[0]], [order[1]])
    await bench.turn(0)
    bench.clock.advance(MINUTE)
    bench.people.merge("old", "young")
    await bench.turn(1)
    assert bench.sent_to() == [order[0]]
    assert dict((await bench.counts()).dropped) == {"same_person": 1}


async def test_one_of_the_two_who_could_not_have_it_does_not_keep_it_from_the_other(bench: Bench) -> None:
    await bench.campaign(["young"], ["old"])
    young = bench.people.now("young")
    assert young
    del young.consents[:]
    await bench.turn(0)
    bench.clock.advance(MINUTE)
    bench.people.merge("old", "young")
    await bench.turn(1)
    assert bench.sent_to() == ["old"]
    assert dict((await bench.counts()).dropped) == {"consent": 1}


@pytest.mark.parametrize("merged", ["before", "while held"])
async def test_two_who_are_held_get_one_message_afterwards(bench: Bench, merged: str) -> None:
    await bench.campaign(["young"], ["old"], quiet=True)
    if merged == "before":
        bench.people.merge("old", "young")
    await bench.turn(0)
    if merged != "before":
        await bench.turn(1)
        bench.people.merge("old", "young")
    bench.clock.advance(HOUR)
    await bench.turn(1)
    await bench.turn(0)
    assert bench.sent_to() == ["old"]
    counts = await bench.counts()
    assert (counts.held, counts.decided, counts.owed, dict(counts.dropped)) == (0, 2, 1, {"same_person": 1})


async def test_three_who_become_one_by_and_by_get_one_message(bench: Bench) -> None:
    await bench.campaign(["c"], ["b"], ["a"])
    bench.people.merge("b", "c")
    await bench.turn(0)
    await bench.turn(1)
    bench.people.merge("a", "b")
    await bench.turn(2)
    assert bench.sent_to() == ["b"]
    assert dict((await bench.counts()).dropped) == {"same_person": 2}


async def test_a_recipient_whose_shard_was_not_written_has_its_turn_again(bench: Bench) -> None:
    """A claim alone gives nobody anything, and takes it from nobody."""
    await bench.campaign(["young"], ["old"])
    bench.people.merge("old", "young")
    stale = await bench.shard(0)
    await bench.store.shards.put([await bench.shard(0)])  # somebody else wrote it meanwhile
    await bench.sending.woken([stale])
    assert bench.owed == []
    await bench.turn(1)
    await bench.turn(0)
    assert bench.sent_to() == ["old"]
    assert dict((await bench.counts()).dropped) == {"same_person": 1}


async def test_who_merged_long_before_leaves_no_claims_behind(bench: Bench) -> None:
    """Most people with several ids did so before the audience was listed: then they're in it once."""
    bench.people.merge("old", "young")
    bench.clock.advance(DAY)
    await bench.campaign(["old", "other"])
    await bench.turn()
    assert bench.sent_to() == ["old", "other"]
    assert (await bench.store.claims.scan(limit=1)).documents == []


async def test_two_pairs_of_whom_one_is_held_and_who_become_one_get_one_message(bench: Bench) -> None:
    await bench.campaign(["a"], ["b"], ["c"], ["d"], quiet=True)
    bench.people.merge("a", "b")
    bench.people.merge("c", "d")
    await bench.turn(0)  # held
    bench.clock.advance(HOUR)
    await bench.turn(2)
    bench.clock.advance(MINUTE)
    bench.people.merge("a", "c")
    for number in range(4):
        await bench.turn(number)
    assert bench.sent_to() == ["c"]
    assert dict((await bench.counts()).dropped) == {"same_person": 3}


async def test_who_waits_with_a_claim_gets_nothing_once_another_id_was_sent_to(bench: Bench) -> None:
    await bench.campaign(["a"], ["c", "d"], quiet=True)
    bench.people.merge("a", "c")
    await bench.turn(0)  # held
    bench.clock.advance(HOUR)
    await bench.turn(1)
    bench.people.merge("a", "d")
    await bench.turn(0)
    assert bench.sent_to() == ["d"]
    assert dict((await bench.counts()).dropped) == {"same_person": 2}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.integers(0, 2)),
        st.sampled_from(["ab", "cd", "ac", "be"]),
        st.just("quiet is over"),
    )
)


@settings(max_examples=60)
@given(audience=st.permutations(list("abcdef")), quiet=st.booleans(), steps=STEPS)
def test_whatever_merges_when_nobody_gets_it_twice_and_the_numbers_add_up(
    tmp_path_factory: pytest.TempPathFactory, audience: list[str], quiet: bool, steps: list[tuple[str, int] | str]
) -> None:
    async def play() -> None:
        async with orchestrating(tmp_path_factory.mktemp("campaign")) as bench:
            await bench.campaign(audience[:2], audience[2:4], audience[4:], quiet=quiet)
            for step in [*steps, "quiet is over", *(("turn", number) for number in range(3))]:
                bench.clock.advance(MINUTE)
                if step == "quiet is over":
                    bench.clock.advance(HOUR)
                elif isinstance(step, str):
                    bench.people.merge(*step)
                else:
                    known = len(bench.owed)
                    await bench.turn(step[1])
                    before, now = (
                        [bench.people.meant(wire.profile_id) for wire in owed]
                        for owed in (bench.owed[:known], bench.owed[known:])
                    )
                    assert len({*now}) == len(now)
                    assert not {*now} & {*before}
            counts = await bench.counts()
            assert counts.total == counts.decided == counts.owed + sum(counts.dropped.values()) == len(audience)
            assert counts.owed == len(bench.owed)
            # Nobody was forgotten either: whoever there is has got it.
            assert {bench.people.meant(wire.profile_id) for wire in bench.owed} == set(
                map(bench.people.meant, audience)
            )

    asyncio.run(play())
