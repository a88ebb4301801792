"""The metrics of the segment service."""

from __future__ import annotations

from services.chassis.metrics import Metric

COMPUTING = Metric(
    "camino_segment_computing",
    "gauge",
    "Workspaces whose profiles are being evaluated by new definitions, or checked for it once more, in the partitions"
    " that this replica works on.",
)
