"""The metrics of the segment service."""

from __future__ import annotations

from services.chassis.metrics import Metric

ERASED_FACTS = Metric(
    "camino_segment_erased_facts_total",
    "counter",
    "Facts that came after their profile was erased, and were dropped for that.",
)
COMPUTING = Metric(
    "camino_segment_computing",
    "gauge",
    "Workspaces whose profiles are being evaluated by new definitions, or checked for it once more, in the partitions"
    " that this replica works on.",
)
