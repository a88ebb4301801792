"""From decision to provider."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.monitoring.generate.panels import Query, graph, page, quantile, rate

_ENDED = "camino_messages_settled_total"
_LATE = "camino_timer_lateness_seconds"
_PROVIDER = "camino_provider_duration_seconds"
_LOST = rate(_ENDED, "channel", 'state=~"failed|expired"')


def dashboard() -> Dashboard:
    return page(
        "sends",
        "Sends",
        "From the decision to the provider's answer, for journeys and campaigns alike.",
        Row("Decided"),
        graph("Decisions", "ops", Query(rate("camino_decisions_total", "verdict"), "{{verdict}}"), stacked=True),
        graph(
            "Rules that hold or drop",
            "ops",
            Query(rate("camino_decisions_total", "verdict, rule", 'verdict!="send"'), "{{verdict}} by {{rule}}"),
            about="Quiet hours and a paused journey hold; a missing endpoint, no consent, or too late drops.",
            stacked=True,
        ),
        graph(
            "Triggered and scheduled",
            "ops",
            Query(rate("camino_decisions_total", "trigger"), "{{trigger}}"),
            stacked=True,
        ),
        Row("Sent"),
        graph(
            "Messages by how they ended",
            "ops",
            Query(rate(_ENDED, "channel, state"), "{{channel}} {{state}}"),
            stacked=True,
        ),
        graph(
            "Failed or expired",
            "percentunit",
            Query(f"{_LOST} / {rate(_ENDED, 'channel')}", "{{channel}}"),
        ),
        graph(
            "Unknown",
            "short",
            Query("max by (namespace) (camino_messages_unknown{HERE})", "{{namespace}}"),
            about="Parked: a provider may or may not have taken them. `camino messages list --state unknown`.",
        ),
        graph(
            "Requests waiting",
            "short",
            Query('max by (namespace) (camino_consumer_lag{HERE, consumer="channels-sends"})', "{{namespace}}"),
        ),
        graph(
            "Ends that were asked for again",
            "ops",
            Query(rate(f"{_LATE}_count", "loop", 'loop=~"(run|shard)-resends"'), "{{loop}}"),
            about="Runs and shards that asked again for messages whose end they hadn't heard of in time.",
        ),
        graph(
            "Late",
            "s",
            Query(quantile(0.99, _LATE, "loop", 'loop=~"runs|campaigns|shards|messages-due"'), "{{loop}}"),
            about="p99. Shards are all due when their campaign starts: theirs is how long it takes.",
        ),
        Row("Providers"),
        graph(
            "Answers",
            "ops",
            Query(rate("camino_provider_outcomes_total", "provider, outcome"), "{{provider}} {{outcome}}"),
            stacked=True,
            width=12,
        ),
        graph(
            "How long they take",
            "s",
            Query(quantile(0.5, _PROVIDER, "provider"), "{{provider}} p50"),
            Query(quantile(0.99, _PROVIDER, "provider"), "{{provider}} p99"),
            width=12,
        ),
    )
