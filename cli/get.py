"""`camino get`: look at what there is."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from camino.segment.v1.segment_pb2 import SEGMENT_STATE_COMPUTING, Segment
from google.protobuf.message import Message

from cli import output, profile_view, transitions
from cli.kinds import BY_PLURAL, Kind
from cli.output import Format
from cli.targets import Targets

What = Enum("What", {name.upper(): name for name in ("profile", *BY_PLURAL)}, type=str)  # type: ignore[misc]

_COLUMNS = {
    "rules": ("what", "name", "priority", "normaliser", "unique"),
    "templates": ("id", "version", "channel", "subject"),
    "segments": ("id", "version", "state", "members", "name"),
    "webhooks": ("id", "state", "segments", "url", "told last", "error"),
    "journeys": ("id", "version", "state", "entered by", "steps", "name"),
    "campaigns": ("id", "state", "segment", "at", "decided", "name"),
}


def get(
    targets: Targets,
    what: Annotated[What, typer.Argument()],
    id: Annotated[str, typer.Argument(metavar="[ID]")] = "",
    identity: Annotated[str, typer.Option(help="Of a profile, such as email:ana@example.com.")] = "",
    at: Annotated[
        str, typer.Option(help="A profile's segments as they were at this instant, such as 2026-11-24T09:00:00Z.")
    ] = "",
    form: Annotated[Format, typer.Option("--output", "-o")] = Format.TABLE,
) -> None:
    """Show segments, webhooks, journeys, campaigns or templates, all or one; a workspace's rules; or a profile, with
    its events, segments, entries and exits, and decisions."""
    if what.value == "profile":
        _profile(targets, id, identity, at, form)
        return
    if identity:
        raise typer.BadParameter("only profiles have identities", param_hint="--identity")
    if at:
        raise typer.BadParameter("is for profiles", param_hint="--at")
    kind = BY_PLURAL[what.value]
    if id and kind.single:
        raise typer.BadParameter(f"a workspace has its {kind.plural} once", param_hint="ID")
    channel = targets.channel(kind.service)
    found = [kind.get(channel, targets.workspace, id)] if id else kind.list(channel, targets.workspace)
    if form is Format.TABLE:
        output.table("", _COLUMNS[kind.plural], [row for item in found for row in _rows(kind, item)])
        return
    plain = [output.plain(item) for item in found]
    output.dump(plain[0] if id or kind.single else plain, form)


def _profile(targets: Targets, id_: str, identity: str, at: str, form: Format) -> None:
    if bool(id_) == bool(identity):
        raise typer.BadParameter("name the profile by its ID, or by --identity namespace:value")
    until = transitions.instant(at)
    try:
        person = profile_view.find(targets, id_, identity, until)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--identity") from None
    if form is Format.TABLE:
        profile_view.show(person, at)
    else:
        output.dump(profile_view.plain(person), form)
    for trouble in person.troubles:
        output.complain(trouble)
    if person.troubles:
        raise typer.Exit(1)


def _rows(kind: Kind, item: Message) -> list[tuple[object, ...]]:
    if kind.name != "ProfileRules":
        return [_row(kind, item)]
    namespaces = [
        ("namespace", one.name, one.priority, output.enum_name(one, "normaliser"), "yes" if one.unique else "")
        for one in item.definition.namespaces
    ]
    return [*namespaces, *(("source", one.name, one.priority, "", "") for one in item.definition.sources)]


def _progress(state: str, segment: Segment) -> str:
    """How far a segment's newest version is, and by which people go meanwhile."""
    if segment.state != SEGMENT_STATE_COMPUTING:
        return state
    serving = f", by version {segment.serving_version} so far" if segment.serving_version < segment.version else ""
    return f"{state}, {segment.computed_count} of {segment.profile_count} profiles{serving}"


def _row(kind: Kind, item: Message) -> tuple[object, ...]:
    id_ = getattr(item, kind.id_field)
    if kind.name == "Template":
        content = item.content
        if content.HasField("email"):
            return id_, item.version, "email", content.email.subject
        return id_, item.version, output.enum_name(content.text, "channel"), ""
    definition = item.definition
    state = output.enum_name(item, "state")
    if kind.name == "MembershipWebhook":
        told = output.instant(item.deliver_time) if item.HasField("deliver_time") else ""
        return id_, state, ", ".join(definition.segment_ids) or "all", definition.url, told, item.failure.error
    if kind.name == "Segment":
        return id_, item.version, _progress(state, item), item.member_count, definition.display_name
    if kind.name == "Journey":
        return id_, item.version, state, definition.entry.event_type, len(definition.steps), definition.display_name
    occurrence = item.occurrence
    decided = f"{occurrence.decided} of {occurrence.total}" if occurrence.audience_frozen else ""
    at = output.instant(definition.schedule.at)
    return id_, state, definition.segment_id, at, decided, definition.display_name
