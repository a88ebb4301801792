"""What is written as YAML is read as the same definition, and written in the same way again."""

from __future__ import annotations

from camino.orchestrator.v1.journey_pb2 import JourneyDefinition
from camino.segment.v1.segment_pb2 import SegmentDefinition
from camino.testing.schema.strategies import messages
from camino.type.v1.value_pb2 import Value
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli import writing
from cli.documents import Parser


def applied(text: str) -> Message:
    """What `camino apply` would publish."""
    parser = Parser("main")
    parser.read("segment.yaml", text)
    assert parser.problems == []
    [document] = parser.documents
    return getattr(document.request, document.kind.body)


def round_trip(kind: str, definition: Message) -> None:
    text = writing.document(kind, "some", definition)
    read = applied(text)
    assert read == definition
    # Floats of either sign are equal to each other when they are zero, and their bytes aren't.
    assert read.SerializeToString(deterministic=True) == definition.SerializeToString(deterministic=True)
    assert writing.document(kind, "some", read) == text


@given(messages(SegmentDefinition))
def test_segments(definition: SegmentDefinition) -> None:
    round_trip("Segment", definition)


@given(messages(JourneyDefinition))
def test_journeys(definition: JourneyDefinition) -> None:
    round_trip("Journey", definition)


@settings(max_examples=5 * settings().max_examples)
@example("\x85")
@given(st.text(st.characters(codec="utf-8"), max_size=8) | st.from_regex(r"[-+0-9.:eE_~ ]{0,6}", fullmatch=True))
def test_texts_stay_texts(text: str) -> None:
    definition = SegmentDefinition()
    definition.condition.attribute.name = "x"
    definition.condition.attribute.equals.CopyFrom(Value(string_value=text))
    round_trip("Segment", definition)
