"""What `kubectl apply -k` would send for an overlay, as the objects that it's made of."""

from __future__ import annotations

import re
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.servers import binary

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("dev", "prod", "prod-tls")
SERVICES = ("profile", "segment", "orchestrator", "channels")

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of one rendered overlay."""

    objects: list[Object]

    def of(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

    def find(self, kind: str, name: str) -> Object:
        """The one object of a kind with this name. Raises LookupError when it isn't there."""
        for found in self.of(kind):
            if found["metadata"]["name"] == name:
                return found
        raise LookupError(f"there is no {kind} {name}")

    def settings(self) -> dict[str, str]:
        """What the ConfigMap tells all services."""
        settings: dict[str, str] = self.config("camino")["data"]
        return settings

    def config(self, name: str) -> Object:
        """The ConfigMap that is generated under this name, to which a hash of what it says is added. Raises LookupError
        when it isn't there."""
        for found in self.of("ConfigMap"):
            if re.fullmatch(rf"{name}-[a-z0-9]{{10}}", found["metadata"]["name"]):
                return found
        raise LookupError(f"there is no ConfigMap {name}")

    @property
    def encrypted(self) -> bool:
        """Whether calls are, and so there are certificates."""
        return bool(self.of("Certificate"))

    def pods(self) -> Iterator[tuple[str, Object]]:
        """The pods' specs, with the name of what makes them."""
        for maker in self.of("Deployment", "StatefulSet"):
            yield maker["metadata"]["name"], maker["spec"]["template"]["spec"]

    def services(self) -> Iterator[tuple[str, Object]]:
        """Camino's own Deployments by name."""
        for name in SERVICES:
            yield name, self.find("Deployment", name)

    def pod(self, service: str) -> Object:
        spec: Object = self.find("Deployment", service)["spec"]["template"]["spec"]
        return spec

    def secret_files(self, service: str, volume_name: str = "secrets") -> dict[str, str]:
        """The files that a service, or its migration (`migrate-secrets`), finds where its secrets are mounted, if they
        are made with the overlay."""
        [volume] = [volume for volume in self.pod(service)["volumes"] if volume["name"] == volume_name]
        mounted = [self.find("Secret", source["secret"]["name"])["data"] for source in volume["projected"]["sources"]]
        return {file: b64decode(content).decode() for data in mounted for file, content in data.items()}

    def environment(self, service: str, secrets: Path) -> dict[str, str]:
        """What a service is told, with its secrets in another place."""
        own = {variable["name"]: variable["value"] for variable in self.pod(service)["containers"][0].get("env", ())}
        told = {**self.settings(), **own}
        return {name: value.replace("/run/secrets/camino", str(secrets)) for name, value in told.items()}


@cache
def rendered(overlay: str) -> str:
    """An overlay as YAML. Raises CalledProcessError, with what kustomize says, when it can't be rendered."""
    command: list[str | Path] = [binary("kubectl"), "kustomize", DEPLOY / "k8s/overlays" / overlay]
    return str(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def manifests(overlay: str) -> Manifests:
    """An overlay's objects, the caller's own to change."""
    return Manifests(list(yaml.safe_load_all(rendered(overlay))))
