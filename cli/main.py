"""The commands of `camino`, one module each."""

from __future__ import annotations

import typer

from cli import (
    apply,
    contract,
    dead_letters,
    erase,
    estimate,
    explain,
    export,
    get,
    import_events,
    import_profiles,
    messages,
    send_event,
    status,
    tokens,
    top,
    up,
    webhooks,
    workspaces,
)
from cli.targets import client

app = typer.Typer(
    name="camino",
    help="Customer journeys: triggered and scheduled messages over one profile store.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("apply")(client(apply.apply))
app.command("estimate")(client(estimate.estimate))
app.command("get")(client(get.get))
app.command("send-event")(client(send_event.send_event))
app.command("erase")(client(erase.erase))
app.command("export")(client(export.export))
app.command("status")(client(status.status))
app.command("top")(top.top)
app.command("contract")(contract.contract)

_explain = typer.Typer(help="What definitions say, as a person would write it.", no_args_is_help=True)
_explain.command("segment")(client(explain.segment))
app.add_typer(_explain, name="explain")

_import = typer.Typer(help="Files of profiles and events, CSV or NDJSON.", no_args_is_help=True)
_import.command("profiles")(client(import_profiles.import_profiles))
_import.command("events")(client(import_events.import_events))
app.add_typer(_import, name="import")

_messages = typer.Typer(help="Messages by state, and those whose outcome nobody knows.", no_args_is_help=True)
_messages.command("list")(client(messages.list_messages))
_messages.command("resolve")(client(messages.resolve))
app.add_typer(_messages, name="messages")

_dead_letters = typer.Typer(help="Inputs that a service could not handle.", no_args_is_help=True)
_dead_letters.command("list")(client(dead_letters.list_dead_letters))
_dead_letters.command("redrive")(client(dead_letters.redrive))
app.add_typer(_dead_letters, name="dead-letters")

_webhooks = typer.Typer(help="Webhooks that are told of changes of membership.", no_args_is_help=True)
_webhooks.command("test")(client(webhooks.test))
_webhooks.command("rotate")(client(webhooks.rotate))
_webhooks.command("delete")(client(webhooks.delete))
app.add_typer(_webhooks, name="webhooks")

_workspaces = typer.Typer(help="Workspaces of tests and trials.", no_args_is_help=True)
_workspaces.command("delete")(client(workspaces.delete))
app.add_typer(_workspaces, name="workspaces")

_tokens = typer.Typer(help="Tokens of those who call, and what they may do.", no_args_is_help=True)
_tokens.command("new")(tokens.new)
_tokens.command("check")(tokens.check)
app.add_typer(_tokens, name="tokens")

if __name__ == "__main__":
    app()
