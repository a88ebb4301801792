"""The metrics of the orchestrator."""

from __future__ import annotations

from services.chassis.metrics import Metric

DECISIONS = Metric(
    "camino_decisions_total",
    "counter",
    "Decisions that took effect, by verdict (send, hold, drop), the first rule that said hold or drop (empty for send),"
    " and what asked for the message (journey, campaign).",
    ("verdict", "rule", "trigger"),
)
