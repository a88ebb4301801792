"""All kinds of rules, those included that the contract doesn't use: messages are derived from them, or it's said loudly
that they can't be."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path

import protovalidate
import pytest
from camino.testing.schema.full import full
from camino.testing.schema.mutants import UnsupportedRule, mutants
from camino.testing.schema.strategies import messages
from google.protobuf import any_pb2, field_mask_pb2, struct_pb2, wrappers_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.declared_rules import declared, is_recursive, told, ways
from tests.property.drawing import drawn

HERE = Path(__file__).parent
IMPORTED = (any_pb2, field_mask_pb2, struct_pb2, wrappers_pb2)
"""What the protos import must be loaded before them."""
KINDS = (
    *("Texts", "Formats", "Binary", "Numbers", "Enums", "Times", "WellKnown", "Lists", "Maps", "Presence"),
    *("Choices", "Exclusive", "Expressions", "Tree", "Chain", "Deep"),
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptor]:
    image = tmp_path_factory.mktemp("protos") / "protos.binpb"
    includes = (HERE, HERE.parents[1] / "protos", files("grpc_tools") / "_proto")
    names = ("vocabulary.proto", "unsupported.proto")
    arguments = ["protoc", *(f"-I{path}" for path in includes), f"--descriptor_set_out={image}"]
    assert protoc.main([*arguments, *names]) == 0
    for file in FileDescriptorSet.FromString(image.read_bytes()).file:
        Default().AddSerializedFile(file.SerializeToString())
    return {name: Default().FindFileByName(name) for name in names}


@pytest.fixture
def kind(request: pytest.FixtureRequest, compiled: dict[str, FileDescriptor]) -> type[Message]:
    return GetMessageClass(compiled["vocabulary.proto"].message_types_by_name[request.param])


of_every_kind = pytest.mark.parametrize("kind", KINDS, indirect=True)


def broken(message: Message) -> list[str]:
    return [violation.proto.rule_id for violation in protovalidate.collect_violations(message)]


@of_every_kind
def test_generated_messages_are_valid(kind: type[Message]) -> None:
    found = drawn(messages(kind), 40)
    assert [broken(message) for message in found] == [[]] * len(found)
    assert len({message.SerializeToString(deterministic=True) for message in found}) >= 3
    assert broken(full(kind)) == []


@of_every_kind
def test_every_rule_has_a_mutant_that_breaks_it_alone(kind: type[Message]) -> None:
    named = Counter(told(kind.DESCRIPTOR, mutant) for mutant in mutants(kind))
    expected = Counter(declared(kind.DESCRIPTOR))
    assert set(named) == set(expected)
    assert named == expected or any(map(is_recursive, ways(kind.DESCRIPTOR)))
    for mutant in mutants(kind):
        for message in drawn(mutant.broken, 3):
            assert broken(message) == [mutant.rule], f"{mutant}: {message}"


@settings(max_examples=2)
@given(data=st.data())
def test_they_can_be_derived_inside_of_a_test(data: st.DataObject, compiled: dict[str, FileDescriptor]) -> None:
    kind = GetMessageClass(compiled["vocabulary.proto"].message_types_by_name["FoundLate"])
    assert not broken(data.draw(messages(kind)))
    assert [broken(data.draw(mutant.broken)) for mutant in mutants(kind)] == [["string.pattern"]]


def test_all_of_the_vocabulary_is_tried(compiled: dict[str, FileDescriptor]) -> None:
    kinds = compiled["vocabulary.proto"].message_types_by_name
    tried = {inner for name in KINDS for inner in ways(kinds[name]) if inner.containing_type is None}
    assert {*(each.name for each in tried), "FoundLate"} == set(kinds)


UNSUPPORTED = {
    "OfNow": "within",
    "OfAny": "in",
    "OfFieldMask": "field_mask",
    "ExpressionOfItems": "cel",
    "ForeignPattern": "pattern ^[[:alpha:]]+$",
    "Predefined": "unsupported.v1.shouted",
    "Endless": "required",
    "Contradiction": "all together",
}
"""What raises, by the type that declares it."""

UNBREAKABLE = {"Implied": "max_len", "AlwaysTrue": "always", "Enormous": "max_len"}
"""What can be kept but not broken, or not broken alone."""


@pytest.mark.parametrize("name", [*UNSUPPORTED, *UNBREAKABLE])
def test_what_is_not_supported_is_named(name: str, compiled: dict[str, FileDescriptor]) -> None:
    kind = GetMessageClass(compiled["unsupported.proto"].message_types_by_name[name])
    with pytest.raises(UnsupportedRule) as refused:
        mutants(kind)
    assert refused.value.rule == (UNSUPPORTED | UNBREAKABLE)[name]
    assert refused.value.field.startswith(f"unsupported.v1.{name}")
    if name in UNBREAKABLE:
        assert drawn(messages(kind), 5)
    else:
        with pytest.raises(UnsupportedRule):
            messages(kind)


def test_all_that_is_unsupported_is_tried(compiled: dict[str, FileDescriptor]) -> None:
    assert set(compiled["unsupported.proto"].message_types_by_name) == {*UNSUPPORTED, *UNBREAKABLE}
