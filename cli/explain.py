"""`camino explain`: what a definition says, for people."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import grpc
import typer
from camino.profile.v1.profile_service_pb2 import GetProfileRequest
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from camino.segment.v1 import segment_pb2
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_service_pb2 import ExplainMembershipRequest
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub

from cli import failures, membership_view, operations, output, transitions, values, writing
from cli.kinds import BY_NAME
from cli.targets import Targets

_SEGMENT = BY_NAME["Segment"]
_LAST = 10


class Form(StrEnum):
    RULE = "rule"
    YAML = "yaml"


def segment(
    targets: Targets,
    id: Annotated[str, typer.Argument(metavar="ID")],
    profile: Annotated[str, typer.Option(help="Why this profile is in it, or isn't, by its id.")] = "",
    identity: Annotated[str, typer.Option(help="Or by its identity, such as email:ana@example.com.")] = "",
    context: Annotated[
        list[str] | None,
        typer.Option(help="An attribute for this question only, as name=value. Repeatable."),
    ] = None,
    at: Annotated[
        str, typer.Option(help="Why at this instant, such as 2026-11-24T09:00:00Z, as far as it's known now.")
    ] = "",
    form: Annotated[
        Form, typer.Option("--output", "-o", help="yaml: a document for `camino apply`, or all of an answer.")
    ] = Form.RULE,
) -> None:
    """Show who is in a segment: its rule, as a person would write it; or why somebody is, or isn't."""
    if profile or identity:
        _why(targets, id, operations.subject(profile, identity), context or [], at, form)
        return
    for option, given in (("--context", context), ("--at", at)):
        if given:
            raise typer.BadParameter("is for --profile or --identity", param_hint=option)
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


def _why(targets: Targets, id_: str, whom: dict[str, Any], context: list[str], at: str, form: Form) -> None:
    try:
        attributes = dict(map(values.assignment, context))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--context") from None
    until = transitions.instant(at)
    if "identity" in whom:
        profiles = ProfileServiceStub(targets.channel("profile"))
        found = profiles.GetProfile(GetProfileRequest(workspace_id=targets.workspace, **whom)).profile
        whom = {"profile_id": found.profile_id}
    request = ExplainMembershipRequest(
        workspace_id=targets.workspace, segment_id=id_, context=attributes, at=until, **whom
    )
    explanation = SegmentServiceStub(targets.channel("segment")).ExplainMembership(request).explanation
    told: list[MembershipChanged] = []
    trouble = ""
    try:
        every = transitions.newest(targets, request.profile_id, until)
        told += islice((one for one in every if one.segment_id == id_), _LAST)
    except grpc.RpcError as error:
        trouble = f"entries and exits are not known: {failures.line(error)}"
    if form is Form.YAML:
        answer = {**output.plain(explanation), "transitions": [output.plain(one) for one in told]}
        output.dump(answer, output.Format.YAML)
    else:
        output.say(f"segment {id_}")
        membership_view.show(request.profile_id, explanation, at)
        membership_view.transitions(told, _LAST, at)
    if trouble:
        output.complain(trouble)
        raise typer.Exit(1)
