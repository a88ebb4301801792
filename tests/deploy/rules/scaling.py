"""How many replicas there are: by the signal that tells, within bounds that make sense."""

from __future__ import annotations

from collections.abc import Iterator

from camino.segment.v1.segment_events_pb2 import EvaluationRequested

from services.channels import app as channels
from services.channels.config import ChannelsConfig
from services.chassis.broker import ConsumerSpec
from services.orchestrator import app as orchestrator
from services.segment import app as segment
from tests.deploy.rendering import SERVICES, Manifests, Object

_CALM = {
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    }
}
_BUSY = "140"
"""Percent of the requested CPU, of which the request is half a core."""
_FEWEST, _MOST = 3, 12
_LAG = range(100, 10_000)
"""How many waiting messages one replica is given to work off: seconds of its work."""


def consumers(name: str, partitions: int) -> tuple[ConsumerSpec, ...]:
    """What a service reads with, as it declares it itself, but for what has one message waiting at most, however much
    there is to do."""
    if name == "segment":
        declared = segment.footing(segment.SegmentConfig(partitions=partitions)).consumers
        return tuple(spec for spec in declared if spec.message_type is not EvaluationRequested)
    if name == "orchestrator":
        return tuple(orchestrator.footing(orchestrator.OrchestratorConfig(partitions=partitions)).consumers)
    if name == "channels":
        return tuple(channels.footing(ChannelsConfig(partitions=partitions)).consumers)
    return ()


def leaves_the_number_to_the_autoscaler(manifests: Manifests) -> Iterator[str]:
    for name, deployment in manifests.services():
        if "replicas" in deployment["spec"]:
            yield f"{name}: applying it would undo what its autoscaler did"


def scales(manifests: Manifests) -> Iterator[str]:
    """Where there are autoscalers, each service has one."""
    scalers = manifests.of("HorizontalPodAutoscaler", "ScaledObject")
    if scalers and sorted(scaler["metadata"]["name"] for scaler in scalers) != sorted(SERVICES):
        yield "not exactly the services are scaled, once each"
    partitions = int(manifests.settings()["CAMINO_PARTITIONS"])
    for scaler in scalers:
        name, spec = scaler["metadata"]["name"], scaler["spec"]
        if scaler["kind"] == "HorizontalPodAutoscaler":
            yield from _by_cpu(name, spec)
        else:
            yield from _by_lag(name, spec, partitions)


def _by_cpu(name: str, spec: Object) -> Iterator[str]:
    if spec["scaleTargetRef"] != {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}:
        yield f"{name}: scales something else"
    if not (_FEWEST <= spec.get("minReplicas", 1) <= spec["maxReplicas"] <= _MOST):
        yield f"{name}: too few or too many replicas"
    target = {"type": "Utilization", "averageUtilization": int(_BUSY)}
    if spec.get("metrics") != [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]:
        yield f"{name}: isn't scaled by how busy it is"
    if spec.get("behavior") != _CALM:
        yield f"{name}: goes up and down"
    if consumers(name, 1):
        yield f"{name}: works off consumers, so its signal is their lag"


def _by_lag(name: str, spec: Object, partitions: int) -> Iterator[str]:
    if spec["scaleTargetRef"] != {"name": name}:
        yield f"{name}: scales something else"
    specs = consumers(name, partitions)
    # A replica beyond the partitions would have nothing to do.
    most = partitions if all(spec.partitions for spec in specs) else _MOST
    if not (_FEWEST <= spec.get("minReplicaCount", 0) <= spec.get("maxReplicaCount", 100) <= most):
        yield f"{name}: too few or too many replicas"
    advanced = spec.get("advanced", {})
    if advanced.get("horizontalPodAutoscalerConfig") != {"behavior": _CALM}:
        yield f"{name}: goes up and down"

    lags = [trigger for trigger in spec["triggers"] if trigger["type"] == "nats-jetstream"]
    declared = sorted((spec.stream, durable) for spec in specs for durable, _ in spec.durables().values())
    read = sorted((trigger["metadata"]["stream"], trigger["metadata"]["consumer"]) for trigger in lags)
    if read != declared:
        # KEDA takes the whole stream for the lag of a consumer that it doesn't find.
        yield f"{name}: is scaled by other consumers than it reads with: {read}"
    target = lags[0]["metadata"].get("lagThreshold", "") if lags else ""
    if not target.isdigit() or int(target) not in _LAG:
        yield f"{name}: the lag for one replica is missing or makes no sense"
    for trigger in lags:
        if {key: value for key, value in trigger["metadata"].items() if key not in ("stream", "consumer")} != {
            "natsServerMonitoringEndpoint": "nats-headless.nats.svc.cluster.local:8222",
            "account": "$G",
            "lagThreshold": target,
        }:
            yield f"{name}: {trigger.get('name')} asks elsewhere, or for another lag"
    names = [trigger.get("name") for trigger in lags]
    summed = {"formula": " + ".join(map(str, names)), "target": target, "metricType": "AverageValue"}
    if len(lags) > 1 and advanced.get("scalingModifiers") != summed:
        yield f"{name}: isn't scaled by what waits in all partitions together"
    others = [trigger for trigger in spec["triggers"] if trigger not in lags]
    by_cpu = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": _BUSY}}
    # What these do by their timers leaves no message waiting.
    if others != ([by_cpu] if name in ("orchestrator", "segment") else []):
        yield f"{name}: another signal than it should have"


RULES = (leaves_the_number_to_the_autoscaler, scales)
