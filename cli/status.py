"""`camino status`: whether everything serves, and what is under way."""

from __future__ import annotations

import grpc
import typer
from camino.channels.v1.message_service_pb2 import CountMessagesRequest
from camino.channels.v1.message_service_pb2_grpc import MessageServiceStub
from camino.ops.v1.dead_letter_service_pb2 import ListDeadLettersRequest
from camino.ops.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub
from camino.orchestrator.v1.campaign_pb2 import Campaign
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from cli import failures, output
from cli.kinds import BY_NAME
from cli.targets import SERVICES, Targets

_HEALTH_S = 3.0


def status(targets: Targets) -> None:
    """Show the services' health, messages by state, campaigns with their progress, and dead letters.

    Exits with 1 if something isn't serving.
    """
    rows = []
    serving = set()
    for service in SERVICES:
        health = _health(targets, service)
        letters = ""
        if health == "SERVING":
            serving.add(service)
            letters = _dead_letters(targets, service)
        rows.append((service, targets.addresses[service], health, letters))
    output.table("services", ("service", "address", "health", "dead letters"), rows)
    failed = len(serving) < len(SERVICES)
    for service, show in (("channels", _messages), ("orchestrator", _campaigns)):
        if service in serving:
            try:
                show(targets)
            except grpc.RpcError as error:
                output.complain(f"{service}: {failures.line(error)}")
                failed = True
    if failed:
        raise typer.Exit(1)


def _health(targets: Targets, service: str) -> str:
    try:
        answer = HealthStub(targets.channel(service)).Check(HealthCheckRequest(), timeout=_HEALTH_S)
    except grpc.RpcError as error:
        return f"DOWN: {failures.line(error)}"
    return str(HealthCheckResponse.ServingStatus.Name(answer.status))


def _dead_letters(targets: Targets, service: str) -> str:
    try:
        stub = DeadLetterServiceStub(targets.channel(service))
        return str(stub.ListDeadLetters(ListDeadLettersRequest(page_size=1)).total_size)
    except grpc.RpcError as error:
        return failures.line(error)


def _messages(targets: Targets) -> None:
    request = CountMessagesRequest(workspace_id=targets.workspace)
    counts = MessageServiceStub(targets.channel("channels")).CountMessages(request).counts
    rows = [(output.enum_name(count, "state"), count.count) for count in counts if count.count]
    output.table(f"messages of {targets.workspace}", ("state", "messages"), rows)


def _campaigns(targets: Targets) -> None:
    found = BY_NAME["Campaign"].list(targets.channel("orchestrator"), targets.workspace)
    columns = ("campaign", "state", "at", "decided", "held", "dropped", "ended")
    output.table(f"campaigns of {targets.workspace}", columns, [_progress(campaign) for campaign in found])


def _progress(campaign: Campaign) -> tuple[object, ...]:
    occurrence = campaign.occurrence
    total = str(occurrence.total) if occurrence.audience_frozen else "?"
    return (
        campaign.campaign_id,
        output.enum_name(campaign, "state"),
        output.instant(campaign.definition.schedule.at),
        f"{occurrence.decided} of {total}" if campaign.HasField("occurrence") else "",
        occurrence.held or "",
        _counts(occurrence.dropped),
        _counts(occurrence.ended),
    )


def _counts(by_name: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(by_name.items()))
