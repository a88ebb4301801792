"""The metrics of the profile service."""

from __future__ import annotations

from services.chassis.metrics import Metric

OPERATION_AGE = Metric(
    "camino_operation_age_seconds",
    "gauge",
    "How long ago the oldest operation was asked for that isn't done yet, by what it does (erase, export); 0 if there"
    " is none. In the whole service: every replica tells the same.",
    ("kind",),
)
