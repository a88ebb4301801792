"""`camino up`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import running
from cli.stack import PORTS, SERVICES, Stack, StackError

_LOOK_S = 0.5

Port = typer.Option(min=0, max=65535, help="0 takes a free one.")


def up(
    data: Annotated[
        Path | None, typer.Option(help="Where everything is kept; a temporary directory if left out.")
    ] = None,
    profile_port: Annotated[int, Port] = PORTS["profile"],
    segment_port: Annotated[int, Port] = PORTS["segment"],
    orchestrator_port: Annotated[int, Port] = PORTS["orchestrator"],
    channels_port: Annotated[int, Port] = PORTS["channels"],
) -> None:
    """Start a broker and the four services, and keep them running until Ctrl-C.

    NATS_URL and MONGODB_URI, if set, are used instead of the embedded broker and store.
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="camino-") as temporary:
        ports = dict(zip(SERVICES, (profile_port, segment_port, orchestrator_port, channels_port), strict=True))
        stack = Stack((data or Path(temporary)).resolve(), ports, nats_url=os.environ.get("NATS_URL", ""))
        asked_to_stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: asked_to_stop.set())
        try:
            with console.status("starting"):
                stack.start()
            with running.recorded({name: stack.metrics(name) for name in SERVICES}):
                console.print(_listening(stack))
                console.print("`camino top` shows how it is. Ctrl-C stops it.")
                while not asked_to_stop.wait(_LOOK_S):
                    stack.check()
        except StackError as error:
            console.print(f"[red]{error}[/red]", highlight=False)
            raise typer.Exit(1) from None
        finally:
            with console.status("stopping"):
                stack.stop()


def _listening(stack: Stack) -> Table:
    table = Table(title="Camino is up")
    for column in ("what", "where", "metrics", "log"):
        table.add_column(column)
    for name in SERVICES:
        table.add_row(name, stack.target(name), stack.metrics(name), str(stack.data / "logs" / f"{name}.log"))
    table.add_row("broker", stack.broker, "", "" if stack.nats_url else str(stack.data / "logs" / "nats.log"))
    return table
