"""`camino import events`: a file of what people did."""

from __future__ import annotations

from typing import Annotated

import typer
from camino.profile.v1.profile_service_pb2 import EventInput

from cli.importing import options
from cli.importing.command import carry_out
from cli.importing.event_rows import EventRows
from cli.importing.proto_json import ProtoJson
from cli.targets import Targets


def import_events(
    targets: Targets,
    file: options.File,
    mapping: options.MappingFile = None,
    identity: options.Identity = None,
    event_id: Annotated[str, typer.Option(help="The column with the event's id.")] = "",
    event_id_from: Annotated[
        list[str] | None,
        typer.Option(help="A column of those that together name the event; its id is derived from them. Repeatable."),
    ] = None,
    type: Annotated[str, typer.Option(help="The type of all events, such as purchase.")] = "",
    type_from: Annotated[str, typer.Option(help="Or the column with the type.")] = "",
    occurred_at: Annotated[
        str, typer.Option(help="The column with the instant, as COLUMN[:epoch|:epoch_ms|:timestamp(%d/%m/%Y)].")
    ] = "",
    default_zone: options.Zone = "",
    property: Annotated[
        list[str] | None,
        typer.Option(help="As [NAME=]COLUMN[:TYPE]: string, number, bool, timestamp, epoch, list(;). Repeatable."),
    ] = None,
    form: options.Format = None,
    delimiter: options.Delimiter = "",
    state: options.State = None,
    restart: options.Restart = False,
    rejects: options.RejectsFile = None,
    max_rejects: options.MaxRejects = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
) -> None:
    """Send the events of a file. NDJSON without a mapping holds an EventInput a line, as the API has it.

    Stopped, it goes on where it was when it's run again. Ends with status 1 if rows were rejected, 3 if it stopped
    before the end.
    """
    from cli.importing.mapping import EventMapping

    found = options.mapping(
        EventMapping,
        mapping,
        identity=options.pairs("--identity", identity),
        event_id=event_id,
        event_id_from=event_id_from,
        type=type,
        type_from=type_from,
        occurred_at=occurred_at,
        default_zone=default_zone,
        properties=options.pairs("--property", property),
    )
    order = options.order(
        file,
        form,
        delimiter,
        EventRows(found) if found else ProtoJson(EventInput),
        found.digest() if found else "",
        state=state,
        restart=restart,
        rejects=rejects,
        max_rejects=max_rejects,
        dry_run=dry_run,
        quiet=quiet,
    )
    carry_out(targets, order)
