"""`camino import profiles`: a file of people."""

from __future__ import annotations

from typing import Annotated

import typer
from camino.profile.v1.profile_service_pb2 import ProfileInput

from cli.importing import options
from cli.importing.command import carry_out
from cli.importing.profile_rows import ProfileRows
from cli.importing.proto_json import ProtoJson
from cli.targets import Targets


def import_profiles(
    targets: Targets,
    file: options.File,
    mapping: options.MappingFile = None,
    identity: options.Identity = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="As [NAME=]COLUMN[:TYPE]: string, number, bool, timestamp, epoch, list(;). Repeatable."),
    ] = None,
    observed_at: Annotated[str, typer.Option(help="The column that says since when all this holds.")] = "",
    source: Annotated[str, typer.Option(help="Who says all this, such as crm.")] = "",
    consent: Annotated[
        list[str] | None,
        typer.Option(help="As CHANNEL/TOPIC=COLUMN, which says opted_in or opted_out, yes or no. Repeatable."),
    ] = None,
    changed_at: Annotated[str, typer.Option(help="The column that says since when the consents hold.")] = "",
    consent_source: Annotated[str, typer.Option(help="Where the consents were given, such as crm-export.")] = "",
    as_of: Annotated[
        str, typer.Option(help="The instant of which the file tells, for rows that don't say theirs.")
    ] = "",
    time_zone: Annotated[str, typer.Option(help="The column with the person's time zone.")] = "",
    locale: Annotated[str, typer.Option(help="The column with the person's language, such as es-ES.")] = "",
    default_zone: options.Zone = "",
    form: options.Format = None,
    delimiter: options.Delimiter = "",
    state: options.State = None,
    restart: options.Restart = False,
    rejects: options.RejectsFile = None,
    max_rejects: options.MaxRejects = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
) -> None:
    """Send the people of a file. NDJSON without a mapping holds a ProfileInput a line, as the API has it.

    Stopped, it goes on where it was when it's run again. Ends with status 1 if rows were rejected, 3 if it stopped
    before the end.
    """
    from cli.importing.mapping import ProfileMapping

    found = options.mapping(
        ProfileMapping,
        mapping,
        identity=options.pairs("--identity", identity),
        attributes=options.pairs("--attribute", attribute),
        observed_at=observed_at,
        source=source,
        consents=options.pairs("--consent", consent),
        changed_at=changed_at,
        consent_source=consent_source,
        as_of=as_of,
        time_zone=time_zone,
        locale=locale,
        default_zone=default_zone,
    )
    order = options.order(
        file,
        form,
        delimiter,
        ProfileRows(found) if found else ProtoJson(ProfileInput),
        found.digest() if found else "",
        state=state,
        restart=restart,
        rejects=rejects,
        max_rejects=max_rejects,
        dry_run=dry_run,
        quiet=quiet,
    )
    carry_out(targets, order)
