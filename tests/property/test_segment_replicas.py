"""Segments are edited while people are told of, merged and erased, by two replicas of which one may be behind, or held
up for minutes; and whoever asks for work or does it may die over it. In the end everybody is in what the newest
versions say, nobody else is in anything, and nothing is left to do.

Nothing but what the service does by itself brings that about: its timers, its sweep, and its rollout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.clock import MINUTE, SECOND
from services.segment import convert
from services.segment.store import SETTLE_AFTER, SWEEP_AFTER
from tests.property.test_segment_merging import People, Step, batches, lives, replicas, step, steps, tellings, visits
from tests.segments import PARTITIONS, WORKSPACE, Bench, publish

ASKS = {"inSegment": "often"}
SPANISH = {"attribute": {"name": "country", "equals": {"stringValue": "ES"}}}
SEGMENTS = {"often": visits(3), "asking": {"all": {"conditions": [ASKS, {"not": visits(2, within="40s")}]}}}
EDITS = st.one_of(
    st.tuples(st.just("often"), st.builds(visits, st.integers(1, 3), st.sampled_from(["", "40s"])) | st.just(SPANISH)),
    st.tuples(st.just("asking"), st.sampled_from([ASKS, {"not": ASKS}, visits(1, within="40s")])),
)

edits = st.one_of(
    step("publish_version", edited=EDITS, replica=replicas),
    step("roll_out", replica=replicas, life=lives),
    step("hold_up", which=batches, edited=EDITS, write=st.integers(1, 4), stages=st.integers(1, 8)),
    step("lose_requests", again=st.booleans()),
)


class EditedSegments(People):
    segments = tuple(SEGMENTS)

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        for segment_id, condition in SEGMENTS.items():
            self.publish_version((segment_id, condition), 0)
        self.run(self.replicas[0].roll_out())

    # --- what happens ---

    def publish_version(self, edited: tuple[str, dict[str, Any]], replica: int) -> None:
        self.run(publish(self.replicas[replica], *edited))

    def hold_up(self, which: list[int], edited: tuple[str, dict[str, Any]], write: int, stages: int) -> None:
        """While one is about to write, the other publishes a version and goes some way with it, or all the way."""

        async def act() -> None:
            await publish(self.replicas[0], *edited)
            for _ in range(stages):
                if not await self.replicas[0].look_at_publications():
                    self.clock.advance(31 * SECOND)

        self.run(self._handle(self._drawn(self.under_way, which), 1, None, interrupted=(act, write)))

    def lose_requests(self, again: bool) -> None:
        """What was asked for is lost, or comes twice."""
        self.published.asked[:] = [*self.published.asked, *self.published.asked] if again else []

    # --- in the end ---

    async def _settle(self) -> None:
        await self._handle(list(self.under_way), 1, None)
        for number, pause in enumerate((SWEEP_AFTER, MINUTE, MINUTE, SETTLE_AFTER)):
            self.clock.advance(pause)
            for replica in (number % 2, 1 - number % 2):
                await self._fire(replica, None)
                await self.replicas[replica].roll_out()
                await self._relay(replica, None)

    async def _check(self) -> None:
        store, now = self.bench.store, self.clock.now()
        catalogue = await self.replicas[0].registry.refresh(WORKSPACE)
        await super()._check()
        for person in self.people:
            instants = [one.effective_at.ToMicroseconds() for one in self.published.of(person)]
            assert instants == sorted(instants)
        assert all(head.ready and not head.upcoming for head in catalogue.heads.values())
        assert not [one for one in (await store.catalogues.scan(limit=9)).documents if "compute_at" in one.body]
        facts = store.facts
        for number in range(PARTITIONS):
            assert not await facts.count("by_edition", WORKSPACE, number, below=catalogue.demanded)
            assert not await facts.count("differing", convert.differing_in(WORKSPACE, number))
            assert not await facts.count("outbox", number)
            assert not await facts.count("wake", number, below=now + 1)

    async def _clear(self) -> None:
        await super()._clear()
        await self.bench.store.catalogues.delete([WORKSPACE])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("replicas") / "segment.db", {})
    yield bench
    bench.close()


@settings(max_examples=60)
@given(
    before=st.lists(tellings, min_size=2, max_size=4),
    early=st.lists(st.integers(0, 50), min_size=3, max_size=10),
    after=st.lists(steps | edits, min_size=8, max_size=25),
)
def test_whoever_is_behind_or_dies_the_newest_versions_hold_in_the_end(
    bench: Bench, before: list[Step], early: list[int], after: list[Step]
) -> None:
    segments = EditedSegments(bench)
    known = [("deliver", {"which": early, "replica": 0, "life": None})]
    for name, arguments in [*before, *known, *after]:
        getattr(segments, name)(**arguments)
    segments.end()
