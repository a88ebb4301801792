"""Services of this version beside services of a later one, whose facts have fields that this one doesn't know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target
from camino.testing.rpcs import facts, rpcs

from services.chassis.events import Outgoing, Publisher
from tests.contract.observed import Observed
from tests.contract.services import services

_LATER_FIELD = b"\xfa\xff\x0f\x05later"
"""Field 32767, which no type has, holding five bytes."""


@pytest.fixture
def watched(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Target, Observed]]:
    publish = Publisher.publish

    async def publish_as_later(self: Publisher, batch: Sequence[Outgoing]) -> None:
        for item in batch:
            item.message.MergeFromString(_LATER_FIELD)
        await publish(self, batch)

    monkeypatch.setattr(Publisher, "publish", publish_as_later)
    with services(tmp_path_factory.mktemp("later")) as found:
        yield found


def test_facts_with_unknown_fields_have_all_their_effects(watched: tuple[Target, Observed]) -> None:
    target, observed = watched
    stage = Stage(target)
    for name in ("SegmentService.PublishSegment", "MessageService.GetMessage"):
        stage.carry_out(next(rpc for rpc in rpcs() if rpc.name == name))
    members = next(rpc for rpc in rpcs() if rpc.name == "SegmentService.ListMembers")
    request = members.request(workspace_id=stage.workspace_id, segment_id="loyal")
    target.eventually(lambda: target.call(members, request).must_be_ok().profile_ids, "the buyer is a member")
    # Which is to be evaluated for those who are there.
    stage.varied("camino.segment.v1.SegmentService.PublishSegment", ("segment_id",), 2)
    stage.carry_out(next(rpc for rpc in rpcs() if rpc.name == "OperationService.EraseProfile"))
    observed.state()  # waits until nothing is under way any more
    published = observed.facts(stage.workspace_id)
    assert {fact.subject.partition(f".{stage.workspace_id}")[0] for fact in published} == {
        kind.DESCRIPTOR.full_name for kind in facts()
    }
    assert all(fact.data.endswith(_LATER_FIELD) for fact in published)
    letters = next(rpc for rpc in rpcs() if rpc.name == "DeadLetterService.ListDeadLetters")
    assert [target.call(letters, letters.request(), place=place).must_be_ok().total_size for place in range(4)] == [
        0
    ] * 4
