"""The segments of `examples/cdnow/segments`, as `camino apply` reads them."""

from __future__ import annotations

from cli.documents import Document, Parser
from services.segment import definitions
from services.segment.rules import Published, Rules
from tests.cdnow.cohort import DEFINITIONS, WORKSPACE


def documents() -> list[Document]:
    parser = Parser(WORKSPACE)
    for path in sorted(DEFINITIONS.iterdir()):
        parser.read(path.name, path.read_text())
    assert not parser.problems
    return parser.in_order()


def published() -> Rules:
    segments: dict[str, Published] = {}
    for document in documents():
        definition = definitions.definition_of(document.request.definition)
        segments[document.id] = Published.of(document.id, 1, 1, definition, segments)
    return Rules(1, segments.values())
