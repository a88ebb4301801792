"""What everything stands on: the store, the broker, and the loops that move facts between them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.monitoring.generate.panels import Query, graph, page, quantile, rate

_STORE = "camino_store_duration_seconds"
_CONSUMER = "camino_consumer"


def dashboard() -> Dashboard:
    slowest = quantile(0.99, _STORE, "service, collection, operation")
    return page(
        "stores",
        "Store and broker",
        "Whether the store and the broker keep up, and where facts wait.",
        Row("Store"),
        graph("p99", "s", Query(quantile(0.99, _STORE, "service"), "{{service}}")),
        graph(
            "Slowest operations, p99",
            "s",
            Query(f"topk(8, {slowest})", "{{service}} {{collection}} {{operation}}"),
        ),
        graph(
            "Operations",
            "ops",
            Query(rate(f"{_STORE}_count", "service, operation"), "{{service}} {{operation}}"),
            about="Each reads or writes a whole batch.",
        ),
        Row("Broker"),
        graph(
            "Published, p99",
            "s",
            Query(quantile(0.99, "camino_publish_duration_seconds", "service"), "{{service}}"),
            about="Until the broker has stored a batch; it's given up after 5 s.",
        ),
        graph(
            "Oldest fact not yet published",
            "s",
            Query("max by (service) (camino_outbox_age_seconds{HERE})", "{{service}}"),
        ),
        graph("Messages waiting", "short", Query("sum by (consumer) (camino:consumer_lag{HERE})", "{{consumer}}")),
        graph(
            "Messages handled",
            "ops",
            Query(rate(f"{_CONSUMER}_handled_total", "consumer, outcome"), "{{consumer}} {{outcome}}"),
        ),
        graph(
            "Messages in a batch, median",
            "short",
            Query(quantile(0.5, f"{_CONSUMER}_batch_messages", "consumer"), "{{consumer}}"),
            about="One at rest; hundreds under load are what makes it cheap.",
        ),
        graph("A batch, p99", "s", Query(quantile(0.99, f"{_CONSUMER}_duration_seconds", "consumer"), "{{consumer}}")),
        Row("Trouble"),
        graph(
            "Probes",
            "short",
            Query("min by (service, probe) (camino_probe_up{HERE})", "{{service}} {{probe}}"),
            about="0: at least one replica can't reach it.",
        ),
        graph("Dead letters", "ops", Query(rate("camino_dead_letters_total", "consumer"), "{{consumer}}")),
        graph(
            "Loops that failed",
            "ops",
            Query(rate("camino_loop_failures_total", "service, loop"), "{{service}} {{loop}}"),
        ),
    )
