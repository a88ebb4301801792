"""A question with a context is the question of a profile that has these attributes, whichever way it's asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_service_pb2 as pb
from camino.type.v1.value_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.testing import FakeClock
from tests.segments import WORKSPACE, Bench, Replica

NAMES = ("country", "cart_value", "vip")
SEGMENTS = {
    "spanish": {"attribute": {"name": "country", "equals": {"stringValue": "ES"}}},
    "full-cart": {"attribute": {"name": "cart_value", "number": {"atLeast": 100}}},
    "no-vip": {"not": {"attribute": {"name": "vip", "exists": True}}},
    "either": {"any": {"conditions": [{"inSegment": "spanish"}, {"not": {"inSegment": "full-cart"}}]}},
    "both": {"all": {"conditions": [{"inSegment": "spanish"}, {"inSegment": "no-vip"}]}},
}

values = st.one_of(
    st.sampled_from(["ES", "PT", ""]).map(lambda text: Value(string_value=text)),
    st.sampled_from([0.0, 99.0, 100.0]).map(lambda number: Value(double_value=number)),
    st.booleans().map(lambda truth: Value(bool_value=truth)),
)
attributes = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("context") / "segment.db", SEGMENTS)
    yield bench
    bench.close()


async def known(replica: Replica, profile_id: str, attributes: dict[str, Value]) -> None:
    change = ProfileChanged()
    change.profile.workspace_id, change.profile.profile_id, change.profile.revision = WORKSPACE, profile_id, 1
    for name, value in attributes.items():
        change.profile.attributes[name].value.CopyFrom(value)
    assert await replica.intake.handle([change]) == {}


async def member_of(replica: Replica, profile_id: str, context: dict[str, Value]) -> list[str]:
    query = pb.MembershipQuery(profile_id=profile_id, segment_ids=SEGMENTS, context=context)
    request = pb.CheckMembershipRequest(workspace_id=WORKSPACE, queries=[query])
    checked = list((await replica.servicer.CheckMembership(request, None)).answers[0].member_of)
    explained = []
    for segment_id in SEGMENTS:
        why = pb.ExplainMembershipRequest(
            workspace_id=WORKSPACE, segment_id=segment_id, profile_id=profile_id, context=context
        )
        if (await replica.servicer.ExplainMembership(why, None)).explanation.member:
            explained.append(segment_id)
    assert explained == checked
    return checked


@given(own=attributes, context=attributes)
def test_a_context_is_attributes_that_win(bench: Bench, own: dict[str, Value], context: dict[str, Value]) -> None:
    bench.examples += 1
    asked, same = f"asked-{bench.examples}", f"same-{bench.examples}"
    replica = Replica(bench.store, FakeClock())

    async def play() -> None:
        await known(replica, asked, own)
        await known(replica, same, {**own, **context})
        before = await member_of(replica, asked, {})
        assert await member_of(replica, asked, context) == await member_of(replica, same, {})
        assert await member_of(replica, asked, {}) == before

    bench.runner.run(play())
