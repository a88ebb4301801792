"""How every pod is kept in: Pod Security "restricted", a read-only root, no rights, bounded resources."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from tests.deploy.rendering import SERVICES, Manifests, Object

_POD_KEYS = {
    "automountServiceAccountToken",
    "containers",
    "enableServiceLinks",
    "initContainers",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "topologySpreadConstraints",
    "volumes",
}
"""What a pod may say. The host's network, processes and users aren't among it."""
_VOLUMES = {"name", "projected", "emptyDir"}
_UNITS = {"": Decimal(1), "m": Decimal("0.001"), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}
_MOST = {"cpu": Decimal(2), "memory": Decimal(2**30)}


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def amount(quantity: str | int) -> Decimal:
    """A Kubernetes quantity as a number."""
    digits = str(quantity).rstrip("KMGim")
    return Decimal(digits) * _UNITS[str(quantity)[len(digits) :]]


def restricted(manifests: Manifests) -> Iterator[str]:
    labels = manifests.find("Namespace", "camino")["metadata"]["labels"]
    for mode in ("enforce", "warn"):
        if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
            yield f"the namespace doesn't {mode} Pod Security"
    for name, pod in manifests.pods():
        if unknown := pod.keys() - _POD_KEYS:
            yield f"{name}: a pod of ours doesn't say {sorted(unknown)}"
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: the pod may run as root, or without the runtime's seccomp profile"
        if {context.get(key) for key in ("runAsUser", "runAsGroup", "fsGroup")} != {10001}:
            yield f"{name}: user and groups aren't the image's"
        if context.get("fsGroupChangePolicy") != "OnRootMismatch":
            yield f"{name}: each start changes the owner of all files"
        for volume in pod.get("volumes", ()):
            if volume.keys() - _VOLUMES or ("emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]):
                yield f"{name}: the volume {volume['name']} is neither projected nor a bounded emptyDir"
        for container in containers(pod):
            if container.get("securityContext") != {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }:
                yield f"{name}/{container['name']}: isn't restricted"


def no_rights_in_the_cluster(manifests: Manifests) -> Iterator[str]:
    if manifests.of("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
        yield "nothing of ours needs rights in the cluster"
    for name, pod in manifests.pods():
        if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
            yield f"{name}: gets a token, or the addresses of other services"
    for name, deployment in manifests.services():
        if deployment["spec"]["template"]["spec"].get("serviceAccountName") != name:
            yield f"{name}: doesn't run under its own account"
        if manifests.find("ServiceAccount", name).get("automountServiceAccountToken") is not False:
            yield f"{name}: its account gives out tokens"
    if {account["metadata"]["name"] for account in manifests.of("ServiceAccount")} != set(SERVICES):
        yield "there is an account that no service runs under"


def bounded(manifests: Manifests) -> Iterator[str]:
    for name, pod in manifests.pods():
        for container in containers(pod):
            where = f"{name}/{container['name']}"
            requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
            for resource, most in _MOST.items():
                if resource not in requests or resource not in limits:
                    yield f"{where}: {resource} has no request or no limit"
                elif not 0 < amount(requests[resource]) <= amount(limits[resource]) <= most:
                    yield f"{where}: {resource} is requested beyond its limit, or the limit beyond reason"


def one_image(manifests: Manifests) -> Iterator[str]:
    for name, pod in manifests.pods():
        for container in containers(pod):
            _, _, tag = container.get("image", "").rpartition("/")[2].partition(":")
            if tag in ("", "latest"):
                yield f"{name}/{container['name']}: the image's version isn't said"
            if container.get("imagePullPolicy") != "IfNotPresent":
                yield f"{name}/{container['name']}: a version is pulled again and again"
    own = [deployment["spec"]["template"]["spec"] for _, deployment in manifests.services()]
    images = {container["image"] for pod in own for container in containers(pod)}
    if len(images) != 1 or next(iter(images)).rpartition("/")[2].partition(":")[0] != "camino":
        yield f"the services don't share one image: {sorted(images)}"


RULES = (restricted, no_rights_in_the_cluster, bounded, one_image)
