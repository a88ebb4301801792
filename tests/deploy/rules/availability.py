"""That there is always enough of a service: through roll-outs, drained nodes, lost nodes and zones."""

from __future__ import annotations

from collections.abc import Iterator

from tests.deploy.rendering import SERVICES, Manifests

NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"


def rolls_out_one_by_one(manifests: Manifests) -> Iterator[str]:
    for name, deployment in manifests.services():
        strategy = deployment["spec"].get("strategy", {})
        if strategy != {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}:
            yield f"{name}: a roll-out takes replicas away before there are new ones"
        if not 1 <= deployment["spec"].get("revisionHistoryLimit", 10) <= 5:
            yield f"{name}: keeps no version to go back to, or too many"


def selects_its_own(manifests: Manifests) -> Iterator[str]:
    for name, deployment in manifests.services():
        if deployment["spec"]["selector"] != {"matchLabels": {NAME: name}}:
            yield f"{name}: doesn't select its own pods"
        if deployment["spec"]["template"]["metadata"]["labels"] != {NAME: name, PART_OF: "camino"}:
            yield f"{name}: its pods aren't labelled as its own"


def is_resolved_to_all_replicas(manifests: Manifests) -> Iterator[str]:
    port = int(manifests.settings()["CAMINO_LISTEN"].rpartition(":")[2])
    protocol = "https" if manifests.encrypted else "kubernetes.io/h2c"
    for name in SERVICES:
        if manifests.find("Service", name)["spec"] != {
            "clusterIP": "None",
            "selector": {NAME: name},
            "ports": [{"name": "grpc", "port": port, "targetPort": "grpc", "appProtocol": protocol}],
        }:
            yield f"{name}: its name doesn't lead to each of its replicas"


def spreads(manifests: Manifests) -> Iterator[str]:
    for name, deployment in manifests.services():
        constraints = deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        for key, otherwise in (
            ("kubernetes.io/hostname", "DoNotSchedule"),
            ("topology.kubernetes.io/zone", "ScheduleAnyway"),
        ):
            if {
                "topologyKey": key,
                "maxSkew": 1,
                "whenUnsatisfiable": otherwise,
                # Only pods of the same version count, or a roll-out could not be spread.
                "matchLabelKeys": ["pod-template-hash"],
                "labelSelector": {"matchLabels": {NAME: name, PART_OF: "camino"}},
            } not in constraints:
                yield f"{name}: replicas may share a {key}"
        if len(constraints) != 2:
            yield f"{name}: is spread over something unknown"


def outlives_drained_nodes(manifests: Manifests) -> Iterator[str]:
    if {budget["metadata"]["name"] for budget in manifests.of("PodDisruptionBudget")} != set(SERVICES):
        yield "not exactly the services have disruption budgets"
    for budget in manifests.of("PodDisruptionBudget"):
        name = budget["metadata"]["name"]
        if budget["spec"] != {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {NAME: name}},
            # One that isn't ready anyway must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }:
            yield f"{name}: draining a node takes more than one replica, or none"


def lives_in_one_namespace(manifests: Manifests) -> Iterator[str]:
    for found in manifests.objects:
        expected = None if found["kind"] == "Namespace" else "camino"
        if found["metadata"].get("namespace") != expected:
            yield f"{found['kind']} {found['metadata']['name']} is in another namespace"


RULES = (
    rolls_out_one_by_one,
    selects_its_own,
    is_resolved_to_all_replicas,
    spreads,
    outlives_drained_nodes,
    lives_in_one_namespace,
)
