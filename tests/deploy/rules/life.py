"""A pod's life: what comes before it serves, how it's asked how it is, and how it goes."""

from __future__ import annotations

from collections.abc import Iterator

from services.chassis.server import LIVE
from tests.deploy.rendering import Manifests, Object

_PATIENCE_S = {"startupProbe": (120, 600), "livenessProbe": (45, 120), "readinessProbe": (2, 5)}
"""After how long a probe's failures count, at least and at most: no restart for a hiccup, no calls to a lame one."""
HEALTH_PORT = 50052
"""Where health is told in plaintext, when calls are encrypted."""
_PAUSE_S = (3, 15)
"""How long a pod still answers when it has been taken from the addresses: until clients have heard of it."""


def the_only(containers: list[Object]) -> Object:
    [container] = containers
    return container


def migrates_then_serves(manifests: Manifests) -> Iterator[str]:
    for name, deployment in manifests.services():
        pod = deployment["spec"]["template"]["spec"]
        migrate, serve = the_only(pod.get("initContainers", [{}])), the_only(pod["containers"])
        for role, container in (("migrate", migrate), ("serve", serve)):
            if container.get("name") != role or container.get("args") != [f"services.{name}", role]:
                yield f"{name}: the container {role} doesn't {role}"
            if "command" in container:
                yield f"{name}: the image's own entry point is passed over"
        if migrate.get("image") != serve.get("image"):
            yield f"{name}: one version migrates and another serves"


def answers_probes(manifests: Manifests) -> Iterator[str]:
    listens = int(manifests.settings()["CAMINO_LISTEN"].rpartition(":")[2])
    scraped = int(manifests.settings()["CAMINO_METRICS_LISTEN"].rpartition(":")[2])
    for setting in ("CAMINO_LISTEN", "CAMINO_METRICS_LISTEN"):
        if not manifests.settings()[setting].startswith("[::]:"):
            yield f"the services can't be reached by every kind of address: {setting}"
    for name, deployment in manifests.services():
        serve = the_only(deployment["spec"]["template"]["spec"]["containers"])
        ports = [{"name": "grpc", "containerPort": listens}]
        port = listens
        if manifests.encrypted:
            # Probes are plaintext.
            port = HEALTH_PORT
            ports.append({"name": "health", "containerPort": port})
        ports.append({"name": "metrics", "containerPort": scraped})
        if sorted(serve.get("ports", []), key=lambda said: str(said["name"])) != ports:
            yield f"{name}: doesn't say the ports that it listens on"
        for probe, asked in (("startupProbe", LIVE), ("livenessProbe", LIVE), ("readinessProbe", None)):
            said = serve.get(probe, {})
            if said.get("grpc") != ({"port": port, "service": asked} if asked else {"port": port}):
                yield f"{name}: the {probe} doesn't ask by gRPC for {asked or 'all that it stands on'}"
            period = said.get("periodSeconds", 10)
            shortest, longest = _PATIENCE_S[probe]
            if not shortest <= period * said.get("failureThreshold", 3) <= longest:
                yield f"{name}: the {probe} is too hasty or too patient"
            # One second, the default, is less than a busy loop may take.
            if not 2 <= said.get("timeoutSeconds", 1) <= period:
                yield f"{name}: the {probe} waits too short or too long for an answer"


def drains_before_it_goes(manifests: Manifests) -> Iterator[str]:
    drain = int(manifests.settings()["CAMINO_DRAIN_SECONDS"])
    for name, deployment in manifests.services():
        pod = deployment["spec"]["template"]["spec"]
        serve = the_only(pod["containers"])
        pause = serve.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if not _PAUSE_S[0] <= pause <= _PAUSE_S[1]:
            yield f"{name}: goes before its clients know, or long after"
        # `serve` drains twice at most: its calls, then its loops.
        needed = pause + 2 * drain
        if not needed + 10 <= pod.get("terminationGracePeriodSeconds", 30) <= needed + 60:
            yield f"{name}: is killed while it drains, or is waited for without need"


RULES = (migrates_then_serves, answers_probes, drains_before_it_goes)
