"""What a process tells of its work to those who watch it: numbers and traces."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.chassis.metrics import Metrics
from services.chassis.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """As it comes, nobody reads the metrics and nothing is traced."""

    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=Tracing)
