"""Profiles and segments: what comes in, and how soon memberships are true."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.monitoring.generate.panels import Query, graph, page, quantile, rate

_CALLS = "camino_rpc_duration_seconds"
_LATE = "camino_timer_lateness_seconds"
_CHANGES = 'consumer=~".*-changes"'
_POSTS = "camino_segment_webhook_duration_seconds"
_TAKEN = "camino_segment_webhook_lateness_seconds"
_MEMBERSHIPS = 'loop="membership-timers"'


def dashboard() -> Dashboard:
    return page(
        "people",
        "Profiles and segments",
        "What is told of people, and how soon it's true of their segments.",
        Row("Taken in"),
        graph(
            "Calls of the profile service",
            "reqps",
            Query(rate(f"{_CALLS}_count", "method", 'service="profile"'), "{{method}}"),
        ),
        graph("p99 of its calls", "s", Query(quantile(0.99, _CALLS, "method", 'service="profile"'), "{{method}}")),
        graph(
            "Oldest fact not yet published",
            "s",
            Query('max by (service) (camino_outbox_age_seconds{HERE, service=~"profile|segment"})', "{{service}}"),
        ),
        graph(
            "Oldest erasure and export that isn't done",
            "s",
            Query("max by (kind) (camino_operation_age_seconds{HERE})", "{{kind}}"),
            about="Erasures take seconds, exports of much minutes.",
        ),
        Row("Made of it"),
        graph(
            "Changes handled",
            "ops",
            Query(rate("camino_consumer_handled_total", "consumer, outcome", _CHANGES), "{{consumer}} {{outcome}}"),
        ),
        graph(
            "Changes waiting",
            "short",
            Query(f"sum by (consumer) (camino:consumer_lag{{HERE, {_CHANGES}}})", "{{consumer}}"),
        ),
        graph(
            "A batch, p99",
            "s",
            Query(quantile(0.99, "camino_consumer_duration_seconds", "consumer", _CHANGES), "{{consumer}}"),
        ),
        Row("Segments"),
        graph(
            "Memberships changed by time, late",
            "s",
            Query(quantile(0.5, _LATE, "loop", _MEMBERSHIPS), "p50"),
            Query(quantile(0.99, _LATE, "loop", _MEMBERSHIPS), "p99"),
            about="p99 is to be below 2 s.",
        ),
        graph("Profiles whose time came", "ops", Query(rate(f"{_LATE}_count", where=_MEMBERSHIPS), "profiles")),
        graph(
            "Workspaces being computed",
            "short",
            Query("sum by (namespace) (camino_segment_computing{HERE})", "{{namespace}}"),
            about="After a publication, until every profile has been evaluated by it.",
        ),
        Row("Webhooks"),
        graph(
            "Messages by what came of them",
            "ops",
            Query(rate(f"{_POSTS}_count", "outcome"), "{{outcome}}"),
            about="What isn't taken is posted again, ever more rarely.",
        ),
        graph("A message, p99", "s", Query(quantile(0.99, _POSTS, "outcome"), "{{outcome}}")),
        graph(
            "Taken after publication",
            "s",
            Query(quantile(0.5, _TAKEN, "namespace"), "p50"),
            Query(quantile(0.99, _TAKEN, "namespace"), "p99"),
        ),
        graph(
            "Failing for the longest",
            "s",
            Query("max by (namespace) (camino_segment_webhook_failing_age_seconds{HERE})", "{{namespace}}"),
            about="What isn't taken within 7 days is lost to the webhook.",
        ),
    )
