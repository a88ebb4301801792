"""The services can work with what the overlay for development tells them, secrets included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from camino.channels.v1 import template_service_pb2
from camino.options.v1 import options_pb2
from camino.profile.v1 import profile_service_pb2
from camino.segment.v1 import segment_service_pb2

from services.chassis.callers_file import parse
from services.chassis.config import load
from services.orchestrator import clients
from tests.deploy.rendering import SERVICES, manifests
from tests.deploy.rules.settings import CONFIGS

DEV = manifests("dev")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_what_it_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, content in DEV.secret_files(name).items():
        (tmp_path / file).write_text(content)
    for variable, value in DEV.environment(name, tmp_path).items():
        monkeypatch.setenv(variable, value)
    config = load(CONFIGS[name])
    assert config.mongodb_uri == "mongodb://mongodb-0.mongodb:27017/?replicaSet=camino"
    assert config.nats_url == "nats://nats:4222"
    assert config.listen == "[::]:50051"


def test_the_orchestrator_may_call_what_it_calls_and_nothing_else() -> None:
    needed = set()
    for name in re.findall(r"_stub\.(\w+)\(", Path(str(clients.__file__)).read_text()):
        for module in (profile_service_pb2, segment_service_pb2, template_service_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                if name in service.methods_by_name:
                    needed.add(service.methods_by_name[name].GetOptions().Extensions[options_pb2.required_scope])
    assert len(needed) >= 3
    files = DEV.secret_files("orchestrator")
    caller = parse(files["callers.yaml"].encode()).find(files["token"])
    assert caller is not None
    assert caller.name == "orchestrator"
    assert set(caller.scopes.written) == needed
    assert caller.workspaces.everything
