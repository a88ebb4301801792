"""What `camino top` shows: services, the consumers that feed them, and what becomes of messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.samples import Samples, Span

Spans = Mapping[str, Span | None]
"""By the address of each service's metrics; None for one that doesn't answer."""


def dashboard(spans: Spans, over: str) -> RenderableType:
    """All of it. `over` says which time the rates are of."""
    answering = [span for span in spans.values() if span is not None]
    return Group(
        Text(f"rates and p99 {over}", style="dim"),
        _table("services", _SERVICES, [_service(address, span) for address, span in spans.items()]),
        _table("consumers", _CONSUMERS, [row for span in answering for row in _consumers(span)]),
        _table("messages", _MESSAGES, _messages(answering)),
        _table("decisions", _DECISIONS, [row for span in answering for row in _decisions(span)]),
    )


def serving(span: Span | None) -> bool:
    return span is not None and bool(span.after.total("camino_serving"))


_SERVICES = (
    "service",
    "health",
    "version",
    "CPU %",
    "MB",
    "calls/s",
    "failed/s",
    "call p99 ms",
    "in flight",
    "store p99 ms",
    "partitions",
    "outbox s",
    "dead letters",
)
_CONSUMERS = ("consumer", "lag", "handled/s", "given back/s", "dead/s", "batch p99 ms", "messages a batch")
_MESSAGES = ("channel", "came to", "in all", "a second")
_DECISIONS = ("asked by", "verdict", "rule", "in all", "a second")

# gRPC's statuses by which a caller isn't at fault.
_FAILED = ("UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED")


def _service(address: str, span: Span | None) -> tuple[str, ...]:
    if span is None:
        return (address, "DOWN", *[""] * (len(_SERVICES) - 2))
    now = span.after
    down = [name for name in now.values("camino_probe_up", "probe") if not now.total("camino_probe_up", probe=name)]
    return (
        ", ".join(now.values("camino_build_info", "service")) or address,
        "serving" if serving(span) else f"NOT SERVING: {', '.join(down)}" if down else "NOT SERVING",
        ", ".join(now.values("camino_build_info", "version")),
        f"{100 * span.rate('process_cpu_seconds_total'):.0f}",
        f"{now.total('process_resident_memory_bytes') / 2**20:.0f}",
        _rate(span.rate("camino_rpc_duration_seconds_count")),
        _rate(sum(span.rate("camino_rpc_duration_seconds_count", status=status) for status in _FAILED)),
        _ms(span.quantile(0.99, "camino_rpc_duration_seconds")),
        f"{now.total('camino_rpc_in_flight'):.0f}",
        _ms(span.quantile(0.99, "camino_store_duration_seconds")),
        _known(now, "camino_leases_held"),
        _known(now, "camino_outbox_age_seconds", ".1f"),
        _known(now, "camino_dead_letters"),
    )


def _consumers(span: Span) -> Iterable[tuple[str, ...]]:
    for name in span.after.values("camino_consumer_handled_total", "consumer"):
        batches = span.count("camino_consumer_batch_messages_count", consumer=name)
        messages = span.count("camino_consumer_batch_messages_sum", consumer=name)
        yield (
            name,
            _known(span.after, "camino_consumer_lag", consumer=name),
            *(
                _rate(span.rate("camino_consumer_handled_total", consumer=name, outcome=outcome))
                for outcome in ("handled", "retry", "dead")
            ),
            _ms(span.quantile(0.99, "camino_consumer_duration_seconds", consumer=name)),
            f"{messages / batches:.0f}" if batches else "",
        )


def _messages(spans: Sequence[Span]) -> Iterable[tuple[str, ...]]:
    """By how they ended, over all replicas; and those whose end nobody knows, which each replica tells alike."""
    name = "camino_messages_settled_total"
    ends = sorted({(found["channel"], found["state"]) for span in spans for found, _ in span.after.matching(name)})
    for channel, state in ends:
        total = sum(span.after.total(name, channel=channel, state=state) for span in spans)
        rate = sum(span.rate(name, channel=channel, state=state) for span in spans)
        yield channel, state, f"{total:,.0f}", _rate(rate)
    parked = [value for span in spans for _, value in span.after.matching("camino_messages_unknown")]
    if parked:
        yield "all", "UNKNOWN, parked now", f"{max(parked):,.0f}", ""


def _decisions(span: Span) -> Iterable[tuple[str, ...]]:
    name = "camino_decisions_total"
    for found, total in sorted(span.after.matching(name), key=lambda sample: sorted(sample[0].items())):
        yield found["trigger"], found["verdict"], found["rule"], f"{total:,.0f}", _rate(span.rate(name, **found))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> RenderableType:
    """Numbers to the right. What isn't there yet has no table."""
    listed = list(rows)
    if not listed:
        return Text(f"{title}: none yet", style="dim")
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        numbers = all(not row[number] or row[number][0].isdigit() for row in listed)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return table


def _style(cell: str) -> str:
    return "red" if cell.startswith(("DOWN", "NOT SERVING")) else ""


def _known(now: Samples, name: str, form: str = ".0f", **labels: str) -> str:
    """A gauge that is missing while what knows it is away."""
    found = [value for _, value in now.matching(name, **labels)]
    return format(sum(found), form) if found else ""


def _rate(rate: float) -> str:
    return f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds * 1000:,.1f}"
