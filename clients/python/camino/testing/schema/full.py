"""One message of a type with everything set, for golden bytes and for people to read."""

from __future__ import annotations

from camino.testing.schema.assembly import assemble
from camino.testing.schema.judge import UnsupportedRule, breaks, dotted
from camino.testing.schema.samples import LAVISH
from camino.testing.schema.shapes import height
from google.protobuf.message import Message

_LEVELS = 3


def full(kind: type[Message]) -> Message:
    """A valid message with every field set, always the same: of fields that exclude each other the first one, in lists
    and maps one item, and recursion cut short. Values tell the field's name or number where the rules allow.

    Raises `UnsupportedRule` if none is found.
    """
    message = assemble(kind.DESCRIPTOR, max(_LEVELS, height(kind.DESCRIPTOR)), LAVISH, {})
    for broken in breaks(message):
        place = f"{kind.DESCRIPTOR.full_name}.{dotted(broken.path)}"
        raise UnsupportedRule(place, broken.rule, "nothing was found that keeps it")
    return message
