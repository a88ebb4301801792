"""What the client derives from the schema: retries, pages, items; and the ids of events."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from camino.client import ItemFailed, derived_event_id, failed_items, new_event_id, pages, raise_failed_items
from camino.client import sync as blocking
from camino.client.ids import NAMESPACE
from camino.client.retries import service_config
from camino.client.terms import CHANNEL_OPTIONS
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as wire
from camino.segment.v1 import segment_service_pb2
from camino.testing.rpcs import rpcs
from google.protobuf import descriptor_pb2, descriptor_pool


def test_only_what_declares_that_it_may_be_repeated_is_retried():
    file = descriptor_pb2.FileDescriptorProto(name="test/retries.proto", package="test.retries")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="Shop")
    for name, level in (
        ("Look", descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS),
        ("Set", descriptor_pb2.MethodOptions.IDEMPOTENT),
        ("Order", descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN),
        ("Pay", None),
        ("Talk", descriptor_pb2.MethodOptions.IDEMPOTENT),
    ):
        method = service.method.add(name=name, input_type=".test.retries.Nothing", output_type=".test.retries.Nothing")
        # Who sends over a stream sends again what has no answer.
        method.client_streaming = method.server_streaming = name == "Talk"
        if level is not None:
            method.options.idempotency_level = level
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    [config] = json.loads(service_config([pool.FindServiceByName("test.retries.Shop")]))["methodConfig"]
    assert [method["method"] for method in config["name"]] == ["Look", "Set"]
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]


def test_every_service_of_the_contract_is_in_the_configuration_of_channels():
    [config] = json.loads(str(dict(CHANNEL_OPTIONS)["grpc.service_config"]))["methodConfig"]
    expected = {(rpc.service, rpc.method) for rpc in rpcs() if rpc.idempotent and not rpc.streaming}
    assert {(name["service"], name["method"]) for name in config["name"]} == expected


class Members:
    """Lists numbers, three on a page at most."""

    def __init__(self, count: int) -> None:
        self.ids = [f"p{number}" for number in range(count)]
        self.asked: list[tuple[str, int, float | None]] = []

    def page(self, request: Any, timeout: float | None) -> segment_service_pb2.ListMembersResponse:
        self.asked.append((request.page_token, request.page_size, timeout))
        start = int(request.page_token or 0)
        end = start + (request.page_size or 3)
        token = str(end) if end < len(self.ids) else ""
        return segment_service_pb2.ListMembersResponse(profile_ids=self.ids[start:end], next_page_token=token)

    async def __call__(self, request: Any, timeout: float | None = None) -> segment_service_pb2.ListMembersResponse:
        return self.page(request, timeout)


async def test_all_pages_are_listed_one_at_a_time():
    members = Members(7)
    request = segment_service_pb2.ListMembersRequest(segment_id="all", page_size=2)
    found = []
    async for member in pages(members, request, timeout_s=3):
        found.append((member, len(members.asked)))
    assert found == [("p0", 1), ("p1", 1), ("p2", 2), ("p3", 2), ("p4", 3), ("p5", 3), ("p6", 4)]
    assert members.asked == [("", 2, 3), ("2", 2, 3), ("4", 2, 3), ("6", 2, 3)]
    assert request.page_token == "", "the caller's own request is left as it was"


async def test_a_list_may_begin_at_a_token_and_may_be_empty():
    members = Members(4)
    assert [found async for found in pages(members, segment_service_pb2.ListMembersRequest(page_token="3"))] == ["p3"]
    assert [found async for found in pages(Members(0), segment_service_pb2.ListMembersRequest())] == []


def test_pages_come_without_an_event_loop_too():
    members = Members(5)
    assert list(blocking.pages(members.page, segment_service_pb2.ListMembersRequest(), timeout_s=1)) == members.ids


async def test_what_lists_nothing_is_refused():
    with pytest.raises(TypeError, match=r"camino\.profile\.v1\.GetProfileRequest asks for no pages"):
        await anext(pages(Members(1), wire.GetProfileRequest()))


def reply(*outcomes: str) -> tuple[wire.IngestEventsRequest, wire.IngestEventsResponse]:
    request = wire.IngestEventsRequest()
    response = wire.IngestEventsResponse()
    for number, outcome in enumerate(outcomes):
        request.events.add(event_id=str(number))
        result = response.results.add(outcome=wire.ItemOutcome.Value(f"ITEM_OUTCOME_{outcome}"))
        if outcome == "FAILED":
            result.error.reason = reason_pb2.REASON_EVENT_TOO_LARGE
            result.error.field = "properties"
            result.error.message = "properties: too large"
    return request, response


def test_failed_items_are_named():
    request, response = reply("OK", "FAILED", "DUPLICATE", "FAILED")
    failed = failed_items(request, response)
    assert [(item.index, item.item, item.field) for item in failed] == [
        (1, request.events[1], "properties"),
        (3, request.events[3], "properties"),
    ]
    assert str(failed[0]) == "item 1 (EVENT_TOO_LARGE): properties: too large"
    with pytest.raises(ExceptionGroup, match="failed items of IngestEventsRequest: 2") as raised:
        raise_failed_items(request, response)
    assert all(isinstance(error, ItemFailed) for error in raised.value.exceptions)


def test_nothing_is_raised_when_all_were_taken():
    raise_failed_items(*reply("OK", "DUPLICATE"))


def test_what_succeeds_or_fails_as_a_whole_has_no_failed_items():
    with pytest.raises(TypeError, match="don't fail alone"):
        failed_items(wire.GetProfileRequest(), wire.GetProfileResponse())


def test_the_same_facts_have_the_same_id_for_ever():
    assert derived_event_id("order", "1001", "paid") == "e931dc56-1b4b-5028-b3f7-98eb855e3bdd"
    assert derived_event_id("order", "1001") == str(uuid.uuid5(NAMESPACE, "order\x1f1001"))
    assert len({derived_event_id("ab", "c"), derived_event_id("a", "bc"), derived_event_id("abc")}) == 3


@pytest.mark.parametrize("facts", [(), ("a\x1fb",)])
def test_what_no_id_is_derived_from(facts: tuple[str, ...]):
    with pytest.raises(ValueError, match=r"U\+001F"):
        derived_event_id(*facts)


def test_new_ids_are_unique_and_sort_by_time():
    ids = [new_event_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert {uuid.UUID(id_).version for id_ in ids} == {7}
