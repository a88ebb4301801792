"""That the broker beside the services lets each do what it declares, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.permissions.files import users
from deploy.permissions.nats import configuration
from tests.deploy.rendering import Manifests


def lets_each_do_what_it_declares(manifests: Manifests) -> Iterator[str]:
    """Where the broker is inside. What is outside is told by the chart's values."""
    if not manifests.of("StatefulSet"):
        return
    told = manifests.config("nats")["data"]
    declared = configuration(users(int(manifests.settings()["CAMINO_PARTITIONS"])))
    if [line for line in told["authorization.conf"].splitlines(keepends=True) if line[0] != "#"] != (
        declared.splitlines(keepends=True)
    ):
        yield "the broker's users may do something else than the services declare"
    lines = [line for line in told["nats.conf"].splitlines() if not line.startswith("#")]
    if lines != [
        "port: 4222",
        "http_port: 8222",
        "jetstream {",
        "  store_dir: /data",
        "}",
        "include authorization.conf",
    ]:
        yield f"the broker is set up otherwise: {lines}"
    if told.keys() != {"nats.conf", "authorization.conf"}:
        yield "the broker is told more"


RULES = (lets_each_do_what_it_declares,)
