"""Whatever the order in which people act, merge and are erased, and in which it's heard of: nobody is sent to twice in
a journey that they may enter once, no event has its effect twice, and nobody is sent to after they were erased."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import bson
import pytest
from camino.orchestrator.v1 import journey_pb2
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.clock import MINUTE, SECOND
from services.chassis.personal_data import Subject
from services.orchestrator.personal_data import OrchestratorPersonalData
from tests.orchestrating import Bench, orchestrating, send, wait

JOURNEYS = {
    "at once": [send("first", "sleep"), wait("sleep", 60, "second"), send("second")],
    "later": [wait("sleep", 60, "first"), send("first")],
}

Step = tuple[str, str | int]
ACTS: list[Step] = [("acts", name) for name in "abcab"]
MERGES: list[Step] = [("merge", pair) for pair in ("ab", "bc")]
ERASURES: list[Step] = [("erase", name) for name in "bc"]
HEARING: list[Step] = [("is heard of", number) for number in range(-3, 3)] + [("are heard of", 1)]
TIME: list[Step] = [("time passes", time) for time in (SECOND, 30 * SECOND, MINUTE, MINUTE)]

stories = st.integers(0, 2).flatmap(
    lambda erasures: st.permutations([*ACTS, *MERGES, *ERASURES[:erasures], *HEARING, *TIME])
)


@dataclass
class Story:
    bench: Bench
    once: bool
    under_way: list[ProfileChanged] = field(default_factory=list)
    seen: int = 0
    sent: list[tuple[str, SendRequested]] = field(default_factory=list)
    """By the step that sent it."""

    async def play(self, kind: str, of: str | int) -> None:
        match kind, of:
            case "acts", str():
                self.act(of)
            case "merge", str():
                self.merge(*of)
            case "erase", str():
                await self.erase(of)
            case "is heard of", int() if self.under_way:
                await self.bench.take(self.under_way[of % len(self.under_way)])
            case "are heard of", int():
                start = of % max(1, len(self.under_way))
                await self.bench.take(*self.under_way[start:], *self.under_way[:start])
            case "time passes", int():
                self.bench.clock.advance(of)
                await self.bench.wake()
        await self.look()

    def act(self, name: str) -> None:
        if self.bench.people.now(name):
            self.under_way.append(self.bench.people.fact(f"e{len(self.under_way)}", name))

    def merge(self, one: str, other: str) -> None:
        people = self.bench.people
        if not people.now(one) or not people.now(other):
            return
        stays, goes = sorted((people.meant(one), people.meant(other)))
        people.merge(stays, goes)
        # An event that was told already may be told again, now as the survivor's.
        self.under_way += [
            people.fact(fact.event.event_id, goes) for fact in self.under_way if fact.event.profile_id == goes
        ]

    async def erase(self, name: str) -> None:
        if not self.bench.people.now(name):
            return
        told = self.bench.people.told(name)
        ids = (told.profile_id, *told.merged_profile_ids)
        data = OrchestratorPersonalData(self.bench.store, self.bench.erasing)
        await data.erase(Subject("shop", ids, ()))
        self.bench.people.erase(name)

    async def look(self) -> None:
        """See whom the last step has sent to."""
        people = self.bench.people
        step_of = {send_id: step for run in await self.bench.runs() for send_id, step, _ in run.body["sends"]}
        for wire in self.bench.owed[self.seen :]:
            assert wire.profile_id not in people.erased
            step = step_of[wire.send_id]
            if self.once:
                before = {people.meant(known.profile_id) for at, known in self.sent if at == step}
                assert people.meant(wire.profile_id) not in before
            self.sent.append((step, wire))
        self.seen = len(self.bench.owed)

    async def end(self) -> None:
        """Hear of all that is left, and let all that waits go on."""
        await self.play("are heard of", 0)
        await self.play("time passes", MINUTE)
        await self.play("time passes", MINUTE)
        runs = await self.bench.runs()
        assert not [run for run in runs if run.body["state"] == journey_pb2.RUN_STATE_ACTIVE]
        for run in runs:
            if run.body["profile"] in self.bench.people.erased:
                assert b"corner" not in bson.encode(run.body)
        assert not [one for one in await self.bench.decisions() if one.body["profile"][5:] in self.bench.people.erased]
        # Whoever acted, and wasn't erased, was sent to: once, or for each event.
        people = self.bench.people
        acted = [fact for fact in self.under_way if people.now(fact.event.profile_id)]
        if self.once:
            assert {people.meant(wire.profile_id) for _, wire in self.sent} >= {
                people.meant(fact.event.profile_id) for fact in acted
            }
        else:
            sent = Counter((step, wire.event["order"].string_value) for step, wire in self.sent)
            assert set(sent.values()) <= {1}
            assert {("first", fact.event.event_id) for fact in acted} <= sent.keys()


@settings(max_examples=60)
@given(kind=st.sampled_from(sorted(JOURNEYS)), once=st.booleans(), told=stories)
def test_nobody_is_sent_to_twice_or_once_erased(
    tmp_path_factory: pytest.TempPathFactory, kind: str, once: bool, told: list[Step]
) -> None:
    async def play() -> None:
        async with orchestrating(tmp_path_factory.mktemp("story")) as bench:
            await bench.publish(*JOURNEYS[kind], once=once)
            story = Story(bench, once)
            for what, of in told:
                await story.play(what, of)
            await story.end()

    asyncio.run(play())
