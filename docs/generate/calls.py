"""Examples of calls as commands for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PORTS = {"profile": 50051, "segment": 50052, "orchestrator": 50053, "channels": 50054}
"""Where `make up` serves what. What every service has, such as its dead letters, is asked of the first."""
_NOT_OF_THE_FIRST = {"camino.ops.v1.PersonalDataService": "orchestrator"}
"""What the first hasn't, and who is asked instead."""


def port_of(full_name: str) -> int:
    """The port of whoever serves this method."""
    asked = _NOT_OF_THE_FIRST.get(full_name.rpartition(".")[0], full_name.split(".")[1])
    return PORTS.get(asked, PORTS["profile"])


def rank(full_name: str) -> int:
    """Where a list shows whoever serves this: in the order of the ports, and last what every service has."""
    served = list(PORTS)
    package = full_name.split(".")[1]
    return served.index(package) if package in served else len(served)


def grpcurl(full_name: str, request: Mapping[str, Any]) -> str:
    """The command that calls a method. The request goes through a here-document, in which nothing has to be quoted."""
    service, _, method = full_name.rpartition(".")
    text = json.dumps(request, indent=2, ensure_ascii=False)
    return f"grpcurl -plaintext -d @ localhost:{port_of(full_name)} {service}/{method} <<'JSON'\n{text}\nJSON"
