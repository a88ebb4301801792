"""All that is applied is what Kubernetes takes: strictly, in the oldest and the newest version that we support."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.rendering import OVERLAYS, Object, manifests

VERSIONS = ("1.33", "1.37")
SCALED_OBJECT = yaml.safe_load(Path(__file__).with_name("scaled_object.yaml").read_text())
CERTIFICATE = yaml.safe_load(Path(__file__).with_name("certificate.yaml").read_text())


def check(found: Object, version: str) -> None:
    """Raises a ValidationError for what the version doesn't know, or has no such field or value."""
    if found["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(found, SCALED_OBJECT)
        # What KEDA hands on is Kubernetes' own again.
        handed = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", **found["spec"]["scaleTargetRef"]},
                "maxReplicas": found["spec"]["maxReplicaCount"],
                **found["spec"]["advanced"]["horizontalPodAutoscalerConfig"],
            },
        }
        kubernetes_validate.validate(handed, version, strict=True)
    elif found["apiVersion"].startswith("cert-manager.io/"):
        jsonschema.validate(found, CERTIFICATE)
    else:
        # Of an older version than asked for, as it does for one that it doesn't know, would prove nothing.
        assert kubernetes_validate.validate(found, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_it(overlay: str, version: str) -> None:
    for found in manifests(overlay).objects:
        check(found, version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "name", "where"),
    [
        ("Deployment", "profile", ("spec", "template", "spec")),
        ("NetworkPolicy", "nobody", ("spec",)),
        ("HorizontalPodAutoscaler", "profile", ("spec", "behavior")),
        ("ScaledObject", "channels", ("spec",)),
        ("ScaledObject", "channels", ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown")),
        ("Certificate", "profile", ("spec", "privateKey")),
        ("Issuer", "camino", ("spec",)),
    ],
)
def test_a_misspelt_field_is_found(kind: str, name: str, where: tuple[str, ...], version: str) -> None:
    found = manifests("prod-tls").find(kind, name)
    check(found, version)
    part = found
    for key in where:
        part = part[key]
    part["misspelt"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(found, version)
