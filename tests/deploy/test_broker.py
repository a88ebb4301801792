"""The production broker as its values tell: three servers, streams on all of them, and on disk once acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from nats.js.errors import APIError

from cli.ports import free_port
from services.chassis.broker import Broker
from services.chassis.errors import BrokerUnavailable
from services.chassis.testing import eventually
from services.profile.app import ProfileConfig, footing
from tests.deploy.rendering import DEPLOY, manifests
from tests.servers import Process, binary

VALUES = yaml.safe_load((DEPLOY / "k8s/components/stores-outside/nats-values.yaml").read_text())


def test_the_values_are_for_a_cluster_that_outlives_a_server_and_a_power_cut() -> None:
    cluster, jetstream = VALUES["config"]["cluster"], VALUES["config"]["jetstream"]
    assert (cluster["enabled"], jetstream["enabled"]) == (True, True)
    assert str(cluster["replicas"]) == manifests("prod").settings()["CAMINO_STREAM_REPLICAS"] == "3"
    assert jetstream["merge"] == {"sync_interval": "always"}
    [(key, spread)] = VALUES["podTemplate"]["topologySpreadConstraints"].items()
    assert (key, spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")
    assert VALUES["podDisruptionBudget"]["enabled"] is True


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The addresses of a cluster of as many servers as the values say, with the values' JetStream settings."""
    count = VALUES["config"]["cluster"]["replicas"]
    with ExitStack() as exits:
        clients, routes = ([free_port(exits) for _ in range(count)] for _ in range(2))
        started = []
        for number in range(count):
            settings: dict[str, Any] = {
                "server_name": f"nats-{number}",
                "listen": f"127.0.0.1:{clients[number]}",
                "jetstream": {"store_dir": str(tmp_path / f"{number}"), **VALUES["config"]["jetstream"]["merge"]},
                "cluster": {
                    "name": "nats",
                    "listen": f"127.0.0.1:{routes[number]}",
                    "routes": [f"nats://127.0.0.1:{port}" for port in routes],
                },
            }
            file = tmp_path / f"{number}.conf"
            # NATS reads JSON as well as its own format.
            file.write_text(json.dumps(settings))
            process = Process([binary("nats-server"), "-c", file], tmp_path)
            exits.callback(process.stop)
            started.append(process)
        for process in started:
            process.said("Server is ready")
        yield ",".join(f"nats://127.0.0.1:{port}" for port in clients)


async def test_each_stream_is_kept_by_every_server(cluster: str) -> None:
    replicas = int(manifests("prod").settings()["CAMINO_STREAM_REPLICAS"])
    spec = footing(ProfileConfig()).streams[0]
    broker = await Broker.connect(cluster, "test")
    try:

        async def declared() -> bool:
            # Until the servers have found each other, there is none to ask, or there are too few.
            try:
                await broker.ping()
                await broker.declare([spec], (), replicas=replicas)
            except (BrokerUnavailable, APIError, TimeoutError):
                return False
            return True

        await eventually(declared, within_s=30)
        info = await broker.jetstream.stream_info(spec.name)
        assert info.config.num_replicas == replicas == 3
        assert info.cluster is not None
        assert len(info.cluster.replicas or ()) == replicas - 1
    finally:
        await broker.close()
