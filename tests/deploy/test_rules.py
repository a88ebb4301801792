"""Our own rules over what is applied, and over the rules: whatever is changed in a manifest, one of them turns red."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deploy.rendering import OVERLAYS, Manifests, Object, manifests
from tests.deploy.rules.every import EVERY, Rule, complaints

FREE = re.compile(
    r"""
      \w+ \.metadata (\.labels (\..*)?)?$         # labels by which people search
    | NetworkPolicy\.metadata\.name               # said in no other place
    | \w+ \.(apiVersion|kind)                     # the schema's to check
    | ConfigMap\.metadata\.name$                  # a hash of what it says
    | ConfigMap\.data\.CAMINO_(LOG_LEVEL|\w+_PROVIDER)  # any value will do
    """,
    re.VERBOSE,
)
"""What may be one way or the other."""

Where = tuple[str | int, ...]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.__name__)
def test_an_overlay_keeps_to_the_rule(overlay: str, rule: Rule) -> None:
    assert list(rule(manifests(overlay))) == []


def places(node: Any, where: Where = ()) -> Iterator[Where]:
    """Every place in an object, the innermost last."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*where, key)
        yield from places(child, (*where, key))


def other(value: Any) -> Any:
    """Something else of the same type; None for what is only taken away."""
    match value:
        case bool():
            return not value
        case int():
            return value * 100 + 1
        case str() if value.isdigit():
            return f"{value}00"
        case str():
            return f"{value}x"
    return None


def unnoticed(found: Manifests, target: Object) -> Iterator[str]:
    """The places of an object where a change, or taking it away, breaks no rule."""
    for where in list(places(target)):
        parent: Any = target
        for key in where[:-1]:
            parent = parent[key]
        key = where[-1]
        label = ".".join(map(str, (target["kind"], *where)))
        if FREE.match(label):
            continue
        before = parent.copy()
        if (changed := other(parent[key])) is not None:
            parent[key] = changed
            if not any(complaints(found)):
                yield f"{label} = {changed}"
        del parent[key]
        if not any(complaints(found)):
            yield f"{label} taken away"
        # As it was, in the order it was.
        parent.clear()
        parent.update(before) if isinstance(parent, dict) else parent.extend(before)


def pod_of(found: Manifests) -> Object:
    pod: Object = found.find("Deployment", "segment")["spec"]["template"]["spec"]
    return pod


def container_of(found: Manifests) -> Object:
    container: Object = pod_of(found)["containers"][0]
    return container


def object_of(kind: str, **rest: Any) -> Object:
    return {"kind": kind, "metadata": {"name": "more", "namespace": "camino"}, **rest}


ADDITIONS: dict[str, Callable[[Manifests], Any]] = {
    "the host's network": lambda found: pod_of(found).update(hostNetwork=True),
    "another user": lambda found: container_of(found)["securityContext"].update(runAsUser=0),
    "a capability": lambda found: container_of(found)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    "a directory of the host": lambda found: pod_of(found)["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "a second container": lambda found: pod_of(found)["containers"].append(dict(container_of(found), name="more")),
    "an entry point": lambda found: container_of(found).update(command=["sh"]),
    "a password for all to see": lambda found: found.settings().update(CAMINO_SMTP_PASSWORD="x"),
    "an address for all to see": lambda found: container_of(found).update(env=[{"name": "NATS_URL", "value": "x"}]),
    "someone to call": lambda found: container_of(found).update(env=[{"name": "CAMINO_PROFILE_TARGET", "value": "x"}]),
    "a setting that nobody reads": lambda found: found.settings().update(CAMINO_PARTITION="8"),
    "a number of replicas": lambda found: found.find("Deployment", "segment")["spec"].update(replicas=3),
    "rights": lambda found: found.objects.append(object_of("RoleBinding")),
    "an account": lambda found: found.objects.append(object_of("ServiceAccount")),
    "a budget": lambda found: found.objects.append(object_of("PodDisruptionBudget", spec={"maxUnavailable": 0})),
    "an autoscaler": lambda found: found.objects.append(found.find("ScaledObject", "segment")),
    "a way out": lambda found: found.objects.append(
        object_of("NetworkPolicy", spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]})
    ),
    "a way in": lambda found: found.find("NetworkPolicy", "profile")["spec"]["ingress"][0]["from"].append(
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "segment"}}}
    ),
    "another port": lambda found: found.find("NetworkPolicy", "to-stores")["spec"]["egress"][0]["ports"].append(
        {"port": 8222}
    ),
    "all ports above": lambda found: found.find("NetworkPolicy", "to-stores")["spec"]["egress"][0]["ports"][0].update(
        endPort=65535
    ),
}


@pytest.mark.parametrize("what", ADDITIONS)
def test_whatever_is_added_a_rule_turns_red(what: str) -> None:
    found = manifests("prod")
    assert list(complaints(found)) == []
    ADDITIONS[what](found)
    assert list(complaints(found)) != []


def first_of_each_kind() -> list[tuple[str, str, str]]:
    """Overlay, kind and name: of what there is one for each service, that of the orchestrator, which has everything."""
    seen: dict[tuple[str, str], tuple[str, str, str]] = {}
    for overlay in reversed(OVERLAYS):
        for found in manifests(overlay).objects:
            kind, name = found["kind"], found["metadata"]["name"]
            if kind in ("StatefulSet", "Secret") or (name in ("nats", "mongodb") and kind == "Service"):
                continue
            if kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget") and name != "orchestrator":
                continue
            seen.setdefault((kind, name.partition("-")[0] if kind == "ConfigMap" else name), (overlay, kind, name))
    return list(seen.values())


@pytest.mark.parametrize(("overlay", "kind", "name"), first_of_each_kind())
def test_whatever_is_changed_a_rule_turns_red(overlay: str, kind: str, name: str) -> None:
    found = manifests(overlay)
    assert list(complaints(found)) == []
    assert list(unnoticed(found, found.find(kind, name))) == []
    assert list(complaints(found)) == [], "the test itself left a change behind"
