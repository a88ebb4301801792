"""That certificates, where there are any, are each service's own, and are renewed in time."""

from __future__ import annotations

from collections.abc import Iterator

from tests.deploy.rendering import SERVICES, Manifests, Object

_NAMESPACE = "camino"
_AUTHORITY = "authority"
_KEY = {"algorithm": "ECDSA", "size": 256}


def issuer(name: str) -> Object:
    return {"group": "cert-manager.io", "kind": "Issuer", "name": name}


def each_service_has_its_own(manifests: Manifests) -> Iterator[str]:
    if not manifests.encrypted:
        return
    if {found["metadata"]["name"] for found in manifests.of("Certificate")} != {*SERVICES, _AUTHORITY}:
        yield "not exactly the services and their authority have certificates"
    for name in SERVICES:
        if manifests.find("Certificate", name)["spec"] != {
            "secretName": f"{name}-tls",
            # As it's called within its namespace, and from others.
            "dnsNames": [name, *(f"{name}.{_NAMESPACE}{rest}" for rest in ("", ".svc", ".svc.cluster.local"))],
            # It calls others with it as well.
            "usages": ["digital signature", "server auth", "client auth"],
            # Three months, of which the last is for whoever has to find out why it wasn't renewed.
            "duration": "2160h",
            "renewBefore": "720h",
            "privateKey": {**_KEY, "rotationPolicy": "Always"},
            "issuerRef": issuer("camino"),
        }:
            yield f"{name}: its certificate isn't for its names, or isn't renewed in time"


def one_authority_issues_them(manifests: Manifests) -> Iterator[str]:
    if not manifests.encrypted:
        return
    if manifests.find("Certificate", _AUTHORITY)["spec"] != {
        "isCA": True,
        "commonName": "camino",
        "secretName": _AUTHORITY,
        "duration": "87600h",
        "privateKey": {**_KEY, "rotationPolicy": "Never"},
        "issuerRef": issuer("self-signed"),
    }:
        yield "the authority's certificate isn't one"
    issuers = {found["metadata"]["name"]: found["spec"] for found in manifests.of("Issuer")}
    if issuers != {"self-signed": {"selfSigned": {}}, "camino": {"ca": {"secretName": _AUTHORITY}}}:
        yield f"others issue certificates: {issuers}"


RULES = (each_service_has_its_own, one_authority_issues_them)
