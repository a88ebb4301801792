"""`camino explain`: what a definition says, for people."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from camino.segment.v1 import segment_pb2

from cli import output, writing
from cli.kinds import BY_NAME
from cli.targets import Targets

_SEGMENT = BY_NAME["Segment"]


class Form(StrEnum):
    RULE = "rule"
    YAML = "yaml"


def segment(
    targets: Targets,
    id: Annotated[str, typer.Argument(metavar="ID")],
    form: Annotated[Form, typer.Option("--output", "-o", help="yaml: a document for `camino apply`.")] = Form.RULE,
) -> None:
    """Show who is in a segment: its rule, as a person would write it."""
    found = _SEGMENT.get(targets.channel(_SEGMENT.service), targets.workspace, id)
    assert isinstance(found, segment_pb2.Segment)
    if form is Form.YAML:
        typer.echo(writing.document(_SEGMENT.name, id, found.definition), nl=False)
        return
    # Only this needs it.
    from services.segment.definitions import read
    from services.segment.domain.printed import in_lines

    definition, _ = read(found.definition)
    name = f" ({definition.display_name})" if definition.display_name else ""
    output.say(f"segment {id}{name}, version {found.version}, {output.enum_name(found, 'state')}")
    output.say(in_lines(definition.condition))
    if definition.missing:
        output.say("or where that is unknown, for want of an attribute or an event")
