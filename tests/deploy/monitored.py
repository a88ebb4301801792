"""What there is to monitor: the series that the services export and the rules make, and what their labels may say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import grpc
import yaml
from camino.testing.rpcs import rpcs

from docs.generate.metrics import declared
from services.channels import app as channels
from services.channels.domain import State
from services.chassis.broker import Broker
from services.chassis.metrics import Metric
from services.chassis.testing import FakeClock
from services.orchestrator import app as orchestrator
from services.orchestrator.domain.decision import Verdict
from services.profile import app as profile
from services.segment import app as segment
from tests.deploy.promql import Labels, Selector, labels_of
from tests.deploy.rendering import DEPLOY, SERVICES
from tests.deploy.rules.settings import CONFIGS

MONITORING = DEPLOY / "monitoring"
RULES = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}

_APPS: dict[str, Any] = {"profile": profile, "segment": segment, "orchestrator": orchestrator, "channels": channels}
_ADDED = frozenset(("namespace", "pod", "job", "instance", "service"))
"""Labels that Prometheus gives to all series of a target, the last by the manifest that says what it reads."""
_OUTCOMES = ("handled", "retry", "dead")
_ANSWERS = ("accepted", "rejected", "deferred", "unknown")


@dataclass
class Monitored:
    loops: set[str]
    """Of all services, by name."""
    probes: set[str]

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        return {metric.name: metric for metrics in declared().values() for metric in metrics}

    @cached_property
    def series(self) -> dict[str, Labels]:
        """The labels of all series, by their names."""
        found: dict[str, Labels] = {"ALERTS": frozenset(("alertname", "alertstate", "severity")) | _ADDED}
        for metric in self.metrics.values():
            labels = frozenset(metric.labels) | _ADDED
            if metric.kind != "histogram":
                found[metric.name] = labels
                continue
            found |= {f"{metric.name}_sum": labels, f"{metric.name}_count": labels}
            found[f"{metric.name}_bucket"] = labels | {"le"}
        for name, expr in RECORDED.items():
            found[name] = labels_of(expr, found)
        return found

    @cached_property
    def values(self) -> dict[str, set[str]]:
        """What a label may say, where that is the same wherever it is."""
        consumers = {spec.name for name, config in CONFIGS.items() for spec in _APPS[name].footing(config()).consumers}
        return {
            "service": set(SERVICES),
            "loop": self.loops,
            "probe": self.probes,
            "consumer": consumers,
            "status": {status.name for status in grpc.StatusCode},
            "verdict": {verdict.name.lower() for verdict in Verdict},
            "state": {state.name.lower() for state in State},
            "outcome": {*_OUTCOMES, *_ANSWERS},
            "alertstate": {"firing", "pending"},
            "method": {rpc.path.removeprefix("/") for rpc in rpcs()},
            "alertname": {rule["alert"] for rule in ALERTS},
        }

    def complaints(self, selector: Selector) -> Iterator[str]:
        """What a selector asks for that there isn't."""
        known = self.series.get(selector.name)
        if known is None:
            yield f"nothing exports {selector.name}"
            return
        if unknown := selector.labels - known:
            yield f"{selector.name} has no {sorted(unknown)}"
        for label, values in selector.values.items():
            if label == "le":
                buckets = {str(float(bucket)) for bucket in self.metrics[selector.name.removesuffix("_bucket")].buckets}
                if unknown := set(values) - buckets:
                    yield f"{selector.name} has no bucket {sorted(unknown)}"
            elif label in self.values and (unknown := set(values) - self.values[label]):
                yield f"{label} is never {sorted(unknown)}"
        for label, pattern in selector.patterns.items():
            if label in self.values and not any(re.fullmatch(pattern, value) for value in self.values[label]):
                yield f"{label} never matches {pattern}"


async def monitored(nats_url: str, data: Path) -> Monitored:
    """By the services themselves, put together but not running."""
    configs = {
        name: config(nats_url=nats_url, data_dir=data, migrate_on_start=True) for name, config in CONFIGS.items()
    }
    loops: set[str] = set()
    probes: set[str] = set()
    async with AsyncExitStack() as stack:
        # All streams first: a service waits for those of the services that it listens to.
        broker = await Broker.connect(nats_url, "test")
        stack.push_async_callback(broker.close)
        for name, service in _APPS.items():
            await broker.declare(service.footing(configs[name]).streams, ())
        for name, service in _APPS.items():
            app = await stack.enter_async_context(service.build(configs[name], FakeClock()))
            loops |= {loop.name for loop in app.loops}
            probes |= set(app.probes)
    return Monitored(loops, probes)
