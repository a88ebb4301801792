"""From all message types of the contract: valid messages, and for each rule some that break it and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import protovalidate
import pytest
from camino.profile.v1 import profile_service_pb2
from camino.segment.v1 import segment_pb2
from camino.testing.rpcs import files, rpcs
from camino.testing.schema.full import full
from camino.testing.schema.mutants import mutants
from camino.testing.schema.strategies import messages
from camino.type.v1 import condition_pb2, messaging_pb2, value_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.chassis.errors import InvalidArgument
from services.chassis.validation import RequestValidator
from tests.property.declared_rules import declared, inside, is_recursive, told, ways
from tests.property.drawing import drawn


def _types(kinds: Iterator[Descriptor]) -> Iterator[Descriptor]:
    for kind in kinds:
        if not kind.GetOptions().map_entry:
            yield kind
            yield from _types(iter(kind.nested_types))


KINDS = [GetMessageClass(kind) for file in files() for kind in _types(iter(file.message_types_by_name.values()))]
REQUESTS = [*dict.fromkeys(rpc.request for rpc in rpcs())]


def _name(kind: type[Message]) -> str:
    return str(kind.DESCRIPTOR.full_name)


of_every_type = pytest.mark.parametrize("kind", KINDS, ids=_name)
of_every_request = pytest.mark.parametrize("kind", REQUESTS, ids=_name)


def broken(message: Message) -> list[str]:
    """The ids of the rules that it breaks."""
    return [violation.proto.rule_id for violation in protovalidate.collect_violations(message)]


@of_every_type
def test_generated_messages_are_valid(kind: type[Message]) -> None:
    found = drawn(messages(kind), 5)
    assert found
    assert [broken(message) for message in found] == [[]] * len(found)


@of_every_type
def test_every_rule_has_a_mutant(kind: type[Message]) -> None:
    named = Counter(told(kind.DESCRIPTOR, mutant) for mutant in mutants(kind))
    expected = Counter(declared(kind.DESCRIPTOR))
    if any(map(is_recursive, ways(kind.DESCRIPTOR))):
        # On one way is enough there.
        assert set(named) == set(expected)
    else:
        assert named == expected


@of_every_type
def test_mutants_break_their_rule_and_nothing_else(kind: type[Message]) -> None:
    for mutant in mutants(kind):
        if mutant.field.count(".") == 0:  # Those inside are proved with their own type, and in the requests.
            for message in drawn(mutant.broken, 2):
                assert broken(message) == [mutant.rule], f"{mutant}: {message}"


@of_every_request
def test_services_name_what_mutants_break(kind: type[Message]) -> None:
    validator = RequestValidator()
    for mutant in mutants(kind, fixed={"workspace_id": "shop"}):
        for request in drawn(mutant.broken, 1):
            with pytest.raises(InvalidArgument) as refused:
                validator.check(request)
            assert [violation.field for violation in refused.value.violations] == [mutant.field]
            assert mutant.field == "workspace_id" or getattr(request, "workspace_id", "shop") == "shop"


@of_every_request
def test_names_of_mutants_are_unique_and_short(kind: type[Message]) -> None:
    names = [str(mutant) for mutant in mutants(kind)]
    assert len(names) == len(set(names))
    assert max(map(len, names), default=0) < 160


@of_every_type
def test_full_messages_are_valid_and_have_everything_set(kind: type[Message]) -> None:
    message = full(kind)
    assert broken(message) == []
    assert message.SerializeToString(deterministic=True) == full(kind).SerializeToString(deterministic=True)
    assert [*_unset(message)] == []


def test_full_messages_tell_their_fields() -> None:
    message = full(profile_service_pb2.IngestEventsRequest)
    [event] = message.events
    assert (message.workspace_id, event.event_id, event.type) == ("workspace-id", "event_id", "type")
    assert event.properties["key"].string_value == "string_value"
    assert full(segment_pb2.SegmentDefinition).condition.all.conditions[0].attribute.name == "name"


def test_fixed_fields_keep_their_value() -> None:
    fixed = {"workspace_id": "contract-1a2b", "page_size": 7, "no_such_field": 1}
    for message in drawn(messages(profile_service_pb2.ListProfilesRequest, fixed=fixed), 20):
        assert (message.workspace_id, message.page_size) == ("contract-1a2b", 7)
    for mutant in mutants(profile_service_pb2.ListProfilesRequest, fixed=fixed):
        for message in drawn(mutant.broken, 3):
            assert (message.workspace_id == "contract-1a2b") == (mutant.field != "workspace_id")
            assert (message.page_size == 7) == (mutant.field != "page_size")


def _multibyte(text: str) -> bool:
    return len(text.encode()) > len(text)


def _instant(value: value_pb2.Value) -> datetime | None:
    return value.timestamp_value.ToDatetime(tzinfo=UTC) if value.HasField("timestamp_value") else None


EDGES: list[tuple[type[Message], str, Callable[[Any], bool]]] = [
    (value_pb2.Value, "an empty text", lambda value: value.HasField("string_value") and not value.string_value),
    (value_pb2.Value, "the longest text", lambda value: len(value.string_value.encode()) == 4096),
    (value_pb2.Value, "more bytes than characters", lambda value: _multibyte(value.string_value)),
    (value_pb2.Value, "minus zero", lambda value: value.HasField("double_value") and str(value.double_value) == "-0.0"),
    (
        value_pb2.Value,
        "the greatest number",
        lambda value: value.double_value == float.fromhex("0x1.fffffffffffffp1023"),
    ),
    (value_pb2.Value, "the first year", lambda value: (at := _instant(value)) is not None and at.year == 1),
    (value_pb2.Value, "the last year", lambda value: (at := _instant(value)) is not None and at.year == 9999),
    (value_pb2.StringList, "an empty list", lambda value: not value.values),
    (value_pb2.StringList, "the longest list", lambda value: len(value.values) == 100),
    (profile_service_pb2.ListProfilesRequest, "the least", lambda request: request.page_size == 0),
    (profile_service_pb2.ListProfilesRequest, "the most", lambda request: request.page_size == 1000),
    (profile_service_pb2.ListProfilesRequest, "a short id", lambda request: len(request.workspace_id) == 1),
    (profile_service_pb2.ListProfilesRequest, "the longest id", lambda request: len(request.workspace_id) == 63),
    (profile_service_pb2.ProfileInput, "the largest map", lambda value: len(value.attributes) == 500),
    (messaging_pb2.SendSpec, "the shortest time", lambda spec: spec.lifetime.ToNanoseconds() == 10**9),
    (messaging_pb2.SendSpec, "the longest time", lambda spec: spec.lifetime.ToNanoseconds() == 2592000 * 10**9),
    (messaging_pb2.SendSpec, "left out", lambda spec: not spec.HasField("lifetime")),
    (condition_pb2.NumberRange, "all bounds", lambda value: len(value.ListFields()) == 4),
    (condition_pb2.NumberRange, "one bound", lambda value: len(value.ListFields()) == 1),
    (condition_pb2.Condition, "four in each other", lambda condition: _depth(condition) >= 4),
]


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind, _, _ in EDGES), ids=_name)
def test_interesting_edges_occur(kind: type[Message]) -> None:
    missing = {edge: occurs for of, edge, occurs in EDGES if of is kind}
    for count in (200, 1000, 4000):
        found = drawn(messages(kind), count)
        missing = {edge: occurs for edge, occurs in missing.items() if not any(map(occurs, found))}
        if not missing:
            return
    pytest.fail(f"never drawn: {', '.join(missing)}")


def test_recursion_ends() -> None:
    assert max(map(_depth, drawn(messages(condition_pb2.Condition), 100))) <= 7


def test_messages_are_small() -> None:
    sizes = sorted(message.ByteSize() for message in drawn(messages(profile_service_pb2.IngestProfilesRequest), 50))
    assert sizes[len(sizes) // 2] < 1000


def _depth(condition: condition_pb2.Condition) -> int:
    kind = condition.WhichOneof("kind")
    inner = getattr(condition, kind)
    if kind == "not":
        return 1 + _depth(inner)
    return 1 + max(map(_depth, inner.conditions)) if kind in ("all", "any") else 1


def _unset(message: Message) -> Iterator[str]:
    """The fields that are not set but could be, of the message and of those inside it."""
    present = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        one_of = field.containing_oneof
        left_out = one_of is not None and field is not one_of.fields[0]
        inner = inside(field)
        if field.name not in present and not left_out and not (inner and is_recursive(inner)):
            yield field.full_name
        if field.name in present and inner is not None:
            value = getattr(message, field.name)
            for each in _each(field, value):
                yield from _unset(each)


def _each(field: FieldDescriptor, value: Any) -> list[Message]:
    if not field.is_repeated:
        return [value]
    return list(value.values()) if field.message_type.GetOptions().map_entry else list(value)
