"""What an import would send, without sending it."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from camino.profile.v1.profile_service_pb2 import EventInput, IngestEventsRequest, IngestProfilesRequest

from cli import output
from cli.importing.items import Item
from cli.importing.records import Record, Rejection
from cli.output import Format

_ITEMS_SHOWN = 3
_REJECTS_SHOWN = 10


def rehearse(items: Iterable[tuple[Record, Item | Rejection]], workspace: str) -> int:
    """Show the first items as they'd be sent, and the first that would be rejected; how many those are. Items are held
    to the schema, as the service would: it also knows what the schema doesn't say, so it may refuse more.
    """
    # It takes as long to load as all the rest, and only this needs it.
    from services.chassis.errors import InvalidArgument
    from services.chassis.validation import RequestValidator, item_violations

    validator = RequestValidator()

    def refused(item: Item) -> Rejection | None:
        try:
            if isinstance(item, EventInput):
                validator.check(IngestEventsRequest(workspace_id=workspace, events=[item]), "events")
            else:
                validator.check(IngestProfilesRequest(workspace_id=workspace, profiles=[item]), "profiles")
        except InvalidArgument as error:  # Nothing is left to be wrong but the workspace.
            raise typer.BadParameter(str(error), param_hint="--workspace") from None
        violation = item_violations().get(0)
        return Rejection("INVALID_FIELD", violation.field, violation.message) if violation else None

    good = rejected = 0
    for record, item in items:
        rejection = item if isinstance(item, Rejection) else refused(item)
        if rejection is None:
            good += 1
            if good <= _ITEMS_SHOWN:
                output.dump(output.plain(item), Format.JSON)
        else:
            rejected += 1
            if rejected <= _REJECTS_SHOWN:
                where = f"{rejection.field}: " if rejection.field else ""
                output.complain(f"line {record.line} ({rejection.reason}): {where}{rejection.message}")
    output.say(f"{good:,} rows would be sent, {rejected:,} rejected; nothing was sent")
    return rejected
