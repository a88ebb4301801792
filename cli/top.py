"""`camino top`: a running stack's health, as it goes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from cli import output, running
from cli.dashboard import Spans, dashboard, serving
from cli.samples import Samples, Span


def top(
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            envvar="CAMINO_METRICS",
            help="host:port of a service's metrics; repeat it for each replica. If left out, those of `camino up`.",
        ),
    ] = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, with rates since each service began.")] = False,
) -> None:
    """Show services, consumers and messages, from the services' metrics, until Ctrl-C.

    With --once, exits with 1 if something isn't serving.
    """
    addresses = metrics or list(running.metrics().values())
    if not addresses:
        output.complain("no stack is known: start one with `camino up`, or say where metrics are with --metrics")
        raise typer.Exit(1)
    if once:
        spans = _since_start(_read(addresses))
        output.show(dashboard(spans, "since each service began"))
        if not all(map(serving, spans.values())):
            raise typer.Exit(1)
        return
    try:
        _watch(addresses, every)
    except KeyboardInterrupt:
        return


def _watch(addresses: list[str], every: float) -> None:
    before = _read(addresses)
    with Live(
        dashboard(_since_start(before), "since each service began"), console=Console(), screen=True, auto_refresh=False
    ) as live:
        live.refresh()
        while True:
            time.sleep(every)
            after = _read(addresses)
            live.update(dashboard(_between(before, after), f"over the last {every:g} s"), refresh=True)
            before = after


def _read(addresses: list[str]) -> dict[str, Samples | None]:
    """All at once: one that is away must not hold up the others."""
    with ThreadPoolExecutor(len(addresses)) as threads:
        return dict(zip(addresses, threads.map(Samples.read, addresses), strict=True))


def _since_start(read: dict[str, Samples | None]) -> Spans:
    return {address: Span(Samples.none_yet(now), now) if now else None for address, now in read.items()}


def _between(before: dict[str, Samples | None], after: dict[str, Samples | None]) -> Spans:
    spans: dict[str, Span | None] = {}
    for address, now in after.items():
        old = before[address]
        if now is not None and (old is None or _restarted(old, now)):
            old = Samples.none_yet(now)
        spans[address] = Span(old, now) if old and now else None
    return spans


def _restarted(old: Samples, now: Samples) -> bool:
    start = "process_start_time_seconds"
    return old.total(start) != now.total(start)
