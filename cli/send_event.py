"""`camino send-event`: one event of one person."""

from __future__ import annotations

from typing import Annotated

import grpc
import typer
from camino.client import new_event_id
from camino.errors.v1.reason_pb2 import Reason
from camino.profile.v1 import profile_service_pb2 as wire
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub

from cli import failures, output, values
from cli.targets import Targets


def send_event(
    targets: Targets,
    type: Annotated[str, typer.Argument(help="Such as purchase.")],
    identity: Annotated[str, typer.Option(help="Whose it is, such as email:ana@example.com.")],
    id: Annotated[str, typer.Option("--id", help="The same on every retry; a new one if left out.")] = "",
    set: Annotated[
        list[str] | None, typer.Option("--set", help="A property as name=value: a number, true or false, else text.")
    ] = None,
    at: Annotated[str, typer.Option("--at", help="When it happened, such as 2026-11-24T09:00:00Z; else now.")] = "",
) -> None:
    """Send one event. Prints OK, DUPLICATE, or why it was refused."""
    try:
        event = wire.EventInput(event_id=id or new_event_id(), type=type, identity=values.identity(identity))
        for name, value in map(values.assignment, set or ()):
            event.properties[name].CopyFrom(value)
        if at:
            event.occurred_at.CopyFrom(values.instant(at))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    request = wire.IngestEventsRequest(workspace_id=targets.workspace, events=[event])
    try:
        result = ProfileServiceStub(targets.channel("profile")).IngestEvents(request).results[0]
    except grpc.RpcError as error:
        output.complain(f"{failures.line(error)}; repeat it with --id {event.event_id}: it can't count twice")
        raise typer.Exit(1) from None
    if result.outcome in (wire.ITEM_OUTCOME_OK, wire.ITEM_OUTCOME_DUPLICATE):
        outcome = wire.ItemOutcome.Name(result.outcome).removeprefix("ITEM_OUTCOME_")
        output.say(f"{outcome} event {event.event_id} of profile {result.profile_id}")
        return
    output.complain(refusal(result.error))
    raise typer.Exit(1)


def refusal(error: wire.ItemError) -> str:
    reason = Reason.Name(error.reason) if error.reason in Reason.values() else str(error.reason)
    where = f"{error.field}: " if error.field and not error.message.startswith(f"{error.field}:") else ""
    return f"refused ({reason.removeprefix('REASON_')}): {where}{error.message}"
