"""In which order documents are published: what is named by others first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from camino.type.v1.condition_pb2 import Condition
from google.protobuf.message import Message

from cli.kinds import KINDS

if TYPE_CHECKING:
    from cli.documents import Document


def in_order(documents: Iterable[Document]) -> list[Document]:
    """By kind, and segments after those that they ask. Of what names each other in a circle nothing can be first: the
    service says what is wrong with it."""
    by_kind = sorted(documents, key=lambda document: KINDS.index(document.kind))
    known = {(document.workspace, document.id): document for document in by_kind if document.kind.name == "Segment"}
    ordered: list[Document] = []
    seen: set[int] = set()

    def place(document: Document) -> None:
        if id(document) in seen:
            return
        seen.add(id(document))
        for segment_id in _asked(document.request):
            if asked := known.get((document.workspace, segment_id)):
                place(asked)
        ordered.append(document)

    for document in by_kind:
        place(document)
    return ordered


def _asked(message: Message) -> Iterator[str]:
    """The segments that conditions inside a message ask."""
    if isinstance(message, Condition) and message.WhichOneof("kind") == "in_segment":
        yield message.in_segment
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            yield from _asked(inner)
