"""What services are told: settings by one ConfigMap, secrets by files, and nothing that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import ValidationError

from services.channels.config import ChannelsConfig
from services.chassis.config import ServiceConfig
from services.orchestrator.app import OrchestratorConfig
from services.profile.app import ProfileConfig
from services.segment.app import SegmentConfig
from tests.deploy.rendering import Manifests
from tests.deploy.rules.life import HEALTH_PORT, the_only
from tests.deploy.rules.pods import containers

CONFIGS: dict[str, type[ServiceConfig]] = {
    "profile": ProfileConfig,
    "segment": SegmentConfig,
    "orchestrator": OrchestratorConfig,
    "channels": ChannelsConfig,
}
_PLACE = "/run/secrets/camino"
TLS_PLACE = "/run/secrets/tls"
_TLS_FILES = {"CERT": "tls.crt", "KEY": "tls.key", "CLIENT_CA": "ca.crt", "CA": "ca.crt"}
_SECRET = re.compile(r"MONGODB_URI|NATS_URL|PASSWORD$|TOKEN$|KEY$")
_BY_HAND = {"CAMINO_SECRETS_DIR"}
"""Read before there are settings."""


def known(config: type[ServiceConfig]) -> set[str]:
    """The variables that a service reads."""
    return {f"CAMINO_{field.upper()}" for field in config.model_fields}


def targets(config: type[ServiceConfig]) -> set[str]:
    """The services that a service calls, as its settings name them."""
    return {field.removesuffix("_target") for field in config.model_fields if field.endswith("_target")}


def tells_what_is_read(manifests: Manifests) -> Iterator[str]:
    read = set().union(*map(known, CONFIGS.values())) | _BY_HAND
    if unknown := manifests.settings().keys() - read:
        yield f"no service reads {sorted(unknown)}"
    for name, deployment in manifests.services():
        for container in containers(deployment["spec"]["template"]["spec"]):
            told = [{"configMapRef": {"name": manifests.config("camino")["metadata"]["name"]}}]
            if container.get("envFrom") != told:
                yield f"{name}/{container['name']}: isn't told the settings"
            for variable in container.get("env", ()):
                if variable["name"] not in known(CONFIGS[name]):
                    yield f"{name}: doesn't read {variable['name']}"


def tells_what_can_be(manifests: Manifests) -> Iterator[str]:
    """The services' own checks of their settings; but not of files, which aren't here."""
    told = {
        variable.removeprefix("CAMINO_").lower(): value
        for variable, value in manifests.settings().items()
        if not variable.endswith("_FILE")
    }
    for name, config in CONFIGS.items():
        try:
            config.model_validate(told)
        except ValidationError as error:
            yield f"{name}: {error}"
    if manifests.settings().get("CAMINO_WEBHOOK_NETWORKS") != "public":
        yield "webhooks may be for what is inside"
    # One server can't keep what it publishes more than once; three outlive the loss of one.
    if manifests.settings().get("CAMINO_STREAM_REPLICAS") != ("1" if manifests.of("StatefulSet") else "3"):
        yield "streams aren't kept by as many servers as there are"


def knows_whom_to_call(manifests: Manifests) -> Iterator[str]:
    port = manifests.settings()["CAMINO_LISTEN"].rpartition(":")[2]
    for name, deployment in manifests.services():
        serve = the_only(deployment["spec"]["template"]["spec"]["containers"])
        told = {variable["name"]: variable.get("value") for variable in serve.get("env", ())}
        called = targets(CONFIGS[name])
        # By `dns:`, which gives gRPC all addresses to balance over.
        expected = {f"CAMINO_{target.upper()}_TARGET": f"dns:///{target}:{port}" for target in called}
        if called:
            expected["CAMINO_TOKEN_FILE"] = f"{_PLACE}/token"
        if manifests.encrypted:
            expected |= {f"CAMINO_TLS_{what}_FILE": f"{TLS_PLACE}/{file}" for what, file in _TLS_FILES.items()}
            expected["CAMINO_HEALTH_LISTEN"] = f"[::]:{HEALTH_PORT}"
        if told != expected:
            yield f"{name}: isn't told whom to call, or without a token or a certificate: {told}"


def keeps_secrets_in_files(manifests: Manifests) -> Iterator[str]:
    settings = manifests.settings()
    if settings.get("CAMINO_SECRETS_DIR") != _PLACE or settings.get("CAMINO_CALLERS_FILE") != f"{_PLACE}/callers.yaml":
        yield "the services look elsewhere for their secrets"
    open_ones = set(settings)
    for name, deployment in manifests.services():
        pod = deployment["spec"]["template"]["spec"]
        mounts = {"migrate": {"migrate-secrets": _PLACE}, "serve": {"secrets": _PLACE}}
        secrets = {"secrets": [name, "callers"], "migrate-secrets": [f"{name}-migrate"]}
        if manifests.encrypted:
            mounts["serve"]["tls"] = TLS_PLACE
            secrets["tls"] = [f"{name}-tls"]
        for container in containers(pod):
            open_ones |= {variable["name"] for variable in container.get("env", ())}
            expected = [
                {"name": volume, "mountPath": place, "readOnly": True}
                for volume, place in mounts[container["name"]].items()
            ]
            if sorted(container.get("volumeMounts", []), key=lambda mount: str(mount["name"])) != expected:
                yield f"{name}/{container['name']}: doesn't have its secrets, or more than those"
        volumes = {volume["name"]: volume.get("projected", {}) for volume in pod.get("volumes", ())}
        if any(projected.get("defaultMode") != 0o440 for projected in volumes.values()):
            yield f"{name}: others may read its secrets"
        # Without the hash of those that are made with the overlay.
        mounted = {
            volume: [re.sub(r"-[a-z0-9]{10}$", "", source["secret"]["name"]) for source in projected.get("sources", ())]
            for volume, projected in volumes.items()
        }
        if mounted != secrets:
            yield f"{name}: has other secrets than its own and the callers' file: {mounted}"
    if said := sorted(filter(_SECRET.search, open_ones)):
        yield f"everybody may read {said}"


RULES = (tells_what_is_read, tells_what_can_be, knows_whom_to_call, keeps_secrets_in_files)
