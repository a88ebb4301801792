"""Who may talk to whom: exactly those that call each other, as the services' settings tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.deploy.rendering import SERVICES, Manifests, Object
from tests.deploy.rules.availability import NAME, PART_OF
from tests.deploy.rules.settings import CONFIGS, targets

Edge = tuple[str, str, str, str]
"""Ingress or egress, of whom, from or to whom, and the port."""

_INSIDE = "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16"
_OUTSIDE = (f"0.0.0.0/0 but {_INSIDE}", "::/0 but ::1/128 fc00::/7 fe80::/10")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def pods(selector: Mapping[str, Mapping[str, str]]) -> str:
    """A selector in words; any field but `matchLabels` shows up in them, and so as an edge that nobody expects."""
    labels = selector.get("matchLabels", {})
    if rest := selector.keys() - {"matchLabels"}:
        return f"{labels} and {sorted(rest)}"
    if not labels:
        return "all"
    if labels == {PART_OF: "camino"}:
        return "camino"
    return labels[NAME] if labels.keys() == {NAME} else str(labels)


def peer(told: Object) -> str:
    match told:
        case {"podSelector": selector, **rest} if not rest:
            return pods(selector)
        case {"namespaceSelector": {"matchLabels": labels}, "podSelector": {"matchLabels": chosen}, **rest} if not rest:
            return f"{' '.join(chosen.values())} of {' '.join(labels.values())}"
        case {"namespaceSelector": {"matchLabels": {"camino/caller": "true"}}, **rest} if not rest:
            return "callers"
        case {"namespaceSelector": {"matchLabels": {"camino/scraper": "true"}}, **rest} if not rest:
            return "scrapers"
        case {"ipBlock": {"cidr": cidr, **rest}} if not rest.keys() - {"except"}:
            return f"{cidr} but {' '.join(rest['except'])}" if rest else cidr
    return str(told)


def edges(policy: Object) -> Iterator[Edge]:
    spec = policy["spec"]
    for direction, end in (("Ingress", "from"), ("Egress", "to")):
        rules = spec.get(direction.lower(), [])
        if rules and direction not in spec["policyTypes"]:
            yield direction, pods(spec["podSelector"]), "not in force", ""
        for rule in rules:
            # Without peers or ports, a rule is for all of them.
            for told in rule.get(end) or [{}]:
                for port in rule.get("ports") or [{}]:
                    number = f"{port.get('port', 'any')}/{port.get('protocol', 'TCP')}"
                    if more := port.keys() - {"port", "protocol"}:
                        number += f" and {sorted(more)}"
                    yield direction, pods(spec["podSelector"]), peer(told), number


def call_graph(manifests: Manifests) -> set[Edge]:
    """What must be possible, and nothing else."""
    graph: set[Edge] = {("Egress", "all", "kube-dns of kube-system", f"53/{kind}") for kind in ("UDP", "TCP")}
    graph.add(("Ingress", "camino", "callers", "50051/TCP"))
    scraped = manifests.settings()["CAMINO_METRICS_LISTEN"].rpartition(":")[2]
    graph.add(("Ingress", "camino", "scrapers", f"{scraped}/TCP"))
    for name in SERVICES:
        for called in targets(CONFIGS[name]):
            graph |= {("Egress", name, called, "50051/TCP"), ("Ingress", called, name, "50051/TCP")}
    # Providers and webhooks.
    graph |= {("Egress", "channels", to, f"{port}/TCP") for to in _OUTSIDE for port in (25, 443, 465, 587)}
    graph |= {("Egress", "segment", to, "443/TCP") for to in _OUTSIDE}
    if manifests.of("StatefulSet"):
        for store, port in (("nats", "4222/TCP"), ("mongodb", "27017/TCP")):
            graph |= {("Egress", "camino", store, port), ("Ingress", store, "camino", port)}
        # The only member of its set calls itself by its name.
        graph |= {(direction, "mongodb", "mongodb", "27017/TCP") for direction in ("Ingress", "Egress")}
    else:
        graph.add(("Egress", "camino", "nats of nats", "4222/TCP"))
        graph |= {("Egress", "camino", to, "27017/TCP") for to in _PRIVATE}
    return graph


def is_the_call_graph(manifests: Manifests) -> Iterator[str]:
    allowed = {edge for policy in manifests.of("NetworkPolicy") for edge in edges(policy)}
    graph = call_graph(manifests)
    for edge in sorted(allowed - graph):
        yield f"nobody needs {edge}"
    for edge in sorted(graph - allowed):
        yield f"not allowed: {edge}"


def nobody_but_whom_a_rule_names(manifests: Manifests) -> Iterator[str]:
    if manifests.find("NetworkPolicy", "nobody")["spec"] != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        yield "what no policy names isn't refused"


RULES = (is_the_call_graph, nobody_but_whom_a_rule_names)
