"""What a definition would make of people, before it's published: exactly where there is time for all of them, and else
as is likely."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from camino.segment.v1 import segment_pb2, segment_service_pb2

from services.chassis.errors import InvalidDefinition
from services.chassis.metrics import Metrics
from services.chassis.testing import FakeClock
from services.segment import definitions
from services.segment.app import SegmentConfig
from services.segment.estimating import Estimating
from services.segment.measures import EVALUATION_ERRORS
from services.segment.rules import Published
from tests.segments import BUYER, PARTITIONS, SPANISH, START, WORKSPACE, Replica, opened, profile, publication, purchase

SPANIARDS = 100
PEOPLE = 400


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Replica]:
    """A quarter of the people are Spanish, and one in ten of all bought something."""
    config = SegmentConfig(nats_url="nats://127.0.0.1:1", data_dir=tmp_path, partitions=PARTITIONS, mongodb_uri="")
    async with opened(config) as store:
        replica = Replica(store, FakeClock(START))
        people = [f"p{number:03}" for number in range(PEOPLE)]
        spanish = [profile(person, address__country="ES") for person in people[:SPANIARDS]]
        await replica.intake.handle([*spanish, *map(profile, people[SPANIARDS:])])
        await replica.intake.handle([purchase(person, f"e-{person}", START) for person in people[::10]])
        yield replica


def request(segment_id: str, condition: dict[str, object]) -> segment_service_pb2.EstimateSegmentRequest:
    definition = publication(segment_id, condition).definition
    return segment_service_pb2.EstimateSegmentRequest(
        workspace_id=WORKSPACE, segment_id=segment_id, definition=definition, sample_size=3
    )


def counts(estimate: segment_pb2.SegmentEstimate) -> tuple[int, int, int]:
    return estimate.member_count, estimate.entering_count, estimate.leaving_count


async def test_everybody_is_counted_where_there_is_time(here: Replica) -> None:
    new = (await here.servicer.EstimateSegment(request("who", SPANISH), None)).estimate
    assert (new.profile_count, new.evaluated_count, new.margin_percent) == (PEOPLE, PEOPLE, 0)
    assert counts(new) == (100, 100, 0)
    assert len(set(new.member_ids)) == len(set(new.entering_ids)) == 3
    await here.servicer.PublishSegment(publication("who", SPANISH), None)
    edit = (await here.servicer.EstimateSegment(request("who", BUYER), None)).estimate
    assert counts(edit) == (40, 30, 90)
    # Those of another segment are asked as they'd be.
    other = request("other", {"all": {"conditions": [{"inSegment": "who"}, BUYER]}})
    assert counts((await here.servicer.EstimateSegment(other, None)).estimate) == (10, 10, 0)
    segment = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id="who")
    assert (await here.servicer.GetSegment(segment, None)).segment.version == 1, "nothing was published by it"


async def test_some_stand_for_all_where_there_is_no_time(here: Replica) -> None:
    errors = Metrics().counter(EVALUATION_ERRORS)
    seconds = count()
    estimating = Estimating(here.store, here.clock, PARTITIONS, errors, time_s=0, elapsed=lambda: next(seconds))
    published = Published.of("who", 0, 0, definitions.definition_of(publication("who", SPANISH).definition))
    for _ in range(PARTITIONS):
        likely = await estimating.estimate(WORKSPACE, published, None, 3)
        assert likely.profile_count == PEOPLE
        assert 0 < likely.evaluated_count < PEOPLE / 2
        assert likely.member_count == likely.entering_count
        # Three times as far off as 95 of 100 are, is farther than one in a hundred million.
        assert abs(likely.member_count - SPANIARDS) < 3 * likely.margin_percent / 100 * likely.member_count


async def test_what_cannot_be_published_cannot_be_estimated(here: Replica) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        await here.servicer.EstimateSegment(request("who", {"not": {"inSegment": "nobody"}}), None)
    [violation] = refused.value.violations
    assert violation.field == "definition.condition.not.in_segment"
    with pytest.raises(InvalidDefinition):
        await here.servicer.EstimateSegment(request("who", {"inSegment": "who"}), None)
    nobody = segment_service_pb2.EstimateSegmentRequest(
        workspace_id="empty", segment_id="who", definition=publication("who", SPANISH).definition
    )
    empty = (await here.servicer.EstimateSegment(nobody, None)).estimate
    assert (empty.profile_count, empty.member_count, empty.margin_percent) == (0, 0, 0)
