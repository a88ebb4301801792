"""`camino webhooks`: webhooks that are told of changes of membership. `camino apply` puts them, and
`camino get webhooks` shows how they're doing."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from camino.segment.v1 import membership_webhook_service_pb2 as pb
from camino.segment.v1.membership_webhook_service_pb2_grpc import MembershipWebhookServiceStub

from cli import output
from cli.targets import Targets

Id = Annotated[str, typer.Argument(metavar="ID", help="The webhook.")]


def test(targets: Targets, id: Id) -> None:
    """Post one signed message to a webhook now, and say what came of it."""
    answer = _stub(targets).SendTestWebhook(pb.SendTestWebhookRequest(**_named(targets, id)))
    took = f"in {answer.latency.ToMilliseconds()} ms"
    if answer.delivered:
        output.say(f"it answered {answer.status} {took}")
        return
    output.complain(f"{answer.error} {took}")
    raise typer.Exit(1)


def rotate(targets: Targets, id: Id) -> None:
    """Give a webhook a new secret, the first line on standard output. It's shown this once.

    For 24 hours messages are signed with the one from before, too.
    """
    answer = _stub(targets).RotateWebhookSecret(pb.RotateWebhookSecretRequest(**_named(targets, id)))
    output.say(answer.secret)
    typer.echo(f"The old one signs too until {output.instant(answer.old_secret_expire_time)}.", err=True)


def delete(targets: Targets, id: Id) -> None:
    """Delete a webhook: nothing is posted to it any more."""
    _stub(targets).DeleteMembershipWebhook(pb.DeleteMembershipWebhookRequest(**_named(targets, id)))
    output.say(f"{id} is told nothing any more")


def _stub(targets: Targets) -> Any:
    return MembershipWebhookServiceStub(targets.channel("segment"))


def _named(targets: Targets, id_: str) -> dict[str, str]:
    return {"workspace_id": targets.workspace, "membership_webhook_id": id_}
