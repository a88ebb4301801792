"""The metrics of the channels service."""

from __future__ import annotations

from services.chassis.measures import CALLS_S
from services.chassis.metrics import Metric

SETTLED = Metric(
    "camino_messages_settled_total",
    "counter",
    "Messages by the end that they came to: sent, failed, suppressed, cancelled, expired or unknown. One that was"
    " unknown, and of which someone found out, is counted again then.",
    ("channel", "state"),
)
UNKNOWN = Metric(
    "camino_messages_unknown",
    "gauge",
    "Messages that are parked now because nobody knows whether the provider took them, in the whole service: every"
    " replica tells the same.",
)
PROVIDER_DURATION = Metric(
    "camino_provider_duration_seconds",
    "histogram",
    "How long calls of a provider took, each with one or many messages; a call whose messages came out differently is"
    " counted for each outcome.",
    ("provider", "outcome"),
    CALLS_S,
)
PROVIDER_OUTCOMES = Metric(
    "camino_provider_outcomes_total",
    "counter",
    "Messages by what the provider said to them: accepted, rejected, deferred, or unknown if it didn't say.",
    ("provider", "outcome"),
)
