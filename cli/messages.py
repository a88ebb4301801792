"""`camino messages`: messages by state, and what became of those nobody knows about."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer
from camino.channels.v1 import message_pb2, message_service_pb2
from camino.channels.v1.message_service_pb2_grpc import MessageServiceStub
from camino.errors.v1.reason_pb2 import Reason

from cli import output
from cli.output import Format
from cli.targets import Targets


def _names(enum: object, prefix: str, joint: str = "_") -> dict[str, str]:
    names = (name.removeprefix(prefix) for name, number in enum.items() if number)  # type: ignore[attr-defined]
    return {name: name.lower().replace("_", joint) for name in names}


State = Enum("State", _names(message_pb2.MessageState, "MESSAGE_STATE_"), type=str)  # type: ignore[misc]
Outcome = Enum("Outcome", _names(message_service_pb2.Resolution, "RESOLUTION_", "-"), type=str)  # type: ignore[misc]


def list_messages(
    targets: Targets,
    state: Annotated[State, typer.Option(help="The state they're in.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 100,
    form: Annotated[Format, typer.Option("--output", "-o")] = Format.TABLE,
) -> None:
    """List messages in a state, those that changed longest ago first."""
    request = message_service_pb2.ListMessagesRequest(
        workspace_id=targets.workspace,
        state=message_pb2.MessageState.Value(f"MESSAGE_STATE_{state.name}"),
        page_size=limit,
    )
    page = MessageServiceStub(targets.channel("channels")).ListMessages(request)
    if form is not Format.TABLE:
        output.dump([output.plain(message) for message in page.messages], form)
        return
    output.table(
        f"{state.value} messages",
        ("send id", "channel", "endpoint", "template", "reason", "attempts", "changed", "provider"),
        (
            (
                message.send_id,
                output.enum_name(message, "channel"),
                message.endpoint,
                f"{message.template_id} v{message.template_version}",
                _why(message),
                message.attempt,
                output.instant(message.update_time),
                message.provider,
            )
            for message in page.messages
        ),
    )
    if page.next_page_token:
        output.say(f"there are more than {limit}; see --limit")


def resolve(
    targets: Targets,
    send_id: Annotated[str, typer.Argument(help="The message, which is unknown.")],
    outcome: Annotated[Outcome, typer.Option("--as", help="What became of it, or what is to be done.")],
    note: Annotated[str, typer.Option(help="Who found out and how; kept in the message's history.")] = "",
) -> None:
    """Say what became of a message whose outcome nobody knew."""
    request = message_service_pb2.ResolveMessageRequest(
        workspace_id=targets.workspace,
        send_id=send_id,
        resolution=message_service_pb2.Resolution.Value(f"RESOLUTION_{outcome.name}"),
        note=note,
    )
    message = MessageServiceStub(targets.channel("channels")).ResolveMessage(request).message
    output.say(f"{message.send_id} is {output.enum_name(message, 'state')}")


def _why(message: message_pb2.Message) -> str:
    reason = Reason.Name(message.reason).removeprefix("REASON_") if message.reason else ""
    return ": ".join(part for part in (reason, message.detail) if part)
