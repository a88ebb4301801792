"""Whether all is well, at a glance, and where to look if not."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.monitoring.generate.panels import Query, graph, number, page, quantile, rate

_TIMERS = "runs|campaigns|membership-timers|messages-due"
_FAILED = "camino:rpc_failed:rate5m{HERE}"
_CALLS = "camino:rpc:rate5m{HERE}"


def dashboard() -> Dashboard:
    return page(
        "overview",
        "Overview",
        "Whether people get what they are to get, and whether the services answer.",
        number(
            "Alerts",
            "short",
            Query('count(ALERTS{alertname=~"Camino.*", alertstate="firing", HERE}) or vector(0)'),
            bad_from=1,
        ),
        number(
            "Services that are down",
            "short",
            Query("4 - count(sum by (service) (camino_serving{HERE}) > 0)"),
            about="Of the four, those without a replica that serves.",
            bad_from=1,
        ),
        number("Messages ended", "ops", Query(rate("camino_messages_settled_total"))),
        number(
            "Messages unknown",
            "short",
            Query("sum(max by (namespace) (camino_messages_unknown{HERE}))"),
            about="Parked until someone says what became of them.",
            bad_from=1,
        ),
        number(
            "Dead letters",
            "short",
            Query("sum(max by (namespace, service) (camino_dead_letters{HERE}))"),
            bad_from=1,
        ),
        number(
            "Calls that fail",
            "percentunit",
            Query(f"sum({_FAILED}) / sum({_CALLS})"),
            about="Through no fault of their callers; 0.1 % is what there is room for.",
            bad_from=0.001,
        ),
        number("Messages waiting", "short", Query("sum(camino:consumer_lag{HERE})")),
        number(
            "Timers, p99 late",
            "s",
            Query(f'max(camino:timer_lateness_seconds:p99_10m{{HERE, loop=~"{_TIMERS}"}})'),
            about="Runs, campaigns, memberships and messages whose time has come: within 2 s.",
            bad_from=2,
        ),
        Row("What people get"),
        graph(
            "Decisions",
            "ops",
            Query(rate("camino_decisions_total", "verdict, trigger"), "{{verdict}} {{trigger}}"),
            about="Each is one message that was meant for one person. Which rules refuse: the page Sends.",
            stacked=True,
        ),
        graph(
            "Messages by how they ended",
            "ops",
            Query(rate("camino_messages_settled_total", "state"), "{{state}}"),
            stacked=True,
        ),
        graph(
            "Events and profiles taken in",
            "reqps",
            Query(rate("camino_rpc_duration_seconds_count", "method", 'method=~".*/Ingest.*"'), "{{method}}"),
            about="Calls; each holds a batch.",
        ),
        Row("Calls"),
        graph("Calls", "reqps", Query(f"sum by (service) ({_CALLS})", "{{service}}")),
        graph(
            "Calls that fail",
            "percentunit",
            Query(f"sum by (service) ({_FAILED}) / sum by (service) ({_CALLS})", "{{service}}"),
        ),
        graph("p99", "s", Query(quantile(0.99, "camino_rpc_duration_seconds", "service"), "{{service}}")),
        graph(
            "Slowest methods, p99",
            "s",
            Query(f"topk(8, {quantile(0.99, 'camino_rpc_duration_seconds', 'method')})", "{{method}}"),
            width=12,
        ),
        graph(
            "Errors by status",
            "reqps",
            Query(
                rate("camino_rpc_duration_seconds_count", "service, status", 'status!="OK"'), "{{service}} {{status}}"
            ),
            about="The callers' own (INVALID_ARGUMENT, NOT_FOUND, …) too.",
            width=12,
        ),
        Row("Replicas"),
        graph("Serving", "short", Query("sum by (service) (camino_serving{HERE})", "{{service}}"), width=6),
        graph(
            "Partitions worked on",
            "short",
            Query("sum by (service) (camino_leases_held{HERE})", "{{service}}"),
            about="All of them, all the time: as many as CAMINO_PARTITIONS.",
            width=6,
        ),
        graph(
            "Versions",
            "short",
            Query("count by (service, version) (camino_build_info{HERE})", "{{service}} {{version}}"),
            width=6,
        ),
        graph(
            "Calls in flight", "short", Query("sum by (service) (camino_rpc_in_flight{HERE})", "{{service}}"), width=6
        ),
    )
