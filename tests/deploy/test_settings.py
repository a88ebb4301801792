"""The services can work with what the overlay for development tells them, secrets included."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from camino.channels.v1 import template_service_pb2
from camino.ops.v1 import personal_data_service_pb2
from camino.options.v1 import options_pb2
from camino.profile.v1 import profile_service_pb2
from camino.segment.v1 import segment_service_pb2
from nats import connect

from services.chassis.callers_file import parse
from services.chassis.config import load
from services.orchestrator import clients as orchestrator
from services.profile.operations import clients as profile
from tests.deploy.rendering import SERVICES, manifests
from tests.deploy.rules.settings import CONFIGS
from tests.servers import nats_server

DEV = manifests("dev")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_what_it_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, content in DEV.secret_files(name).items():
        (tmp_path / file).write_text(content)
    for variable, value in DEV.environment(name, tmp_path).items():
        monkeypatch.setenv(variable, value)
    config = load(CONFIGS[name])
    assert config.mongodb_uri == "mongodb://mongodb-0.mongodb:27017/?replicaSet=camino"
    assert config.nats_url.startswith(f"nats://{name}:")
    assert config.listen == "[::]:50051"


async def test_the_broker_knows_each_service_and_its_migrations(tmp_path: Path) -> None:
    """The development's broker, as it is set up there, but with its data here."""
    told = DEV.config("nats")["data"]
    (tmp_path / "authorization.conf").write_text(told["authorization.conf"])
    settings = tmp_path / "nats.conf"
    settings.write_text(told["nats.conf"].replace("http_port: 8222", "").replace("store_dir: /data", ""))
    [secret] = [found for found in DEV.of("Secret") if "passwords.conf" in found["data"]]
    (tmp_path / "passwords.conf").write_bytes(b64decode(secret["data"]["passwords.conf"]))
    with nats_server(settings) as nats:
        for name in SERVICES:
            for user, volume in ((name, "secrets"), (f"{name}-migrate", "migrate-secrets")):
                address = urlsplit(DEV.secret_files(name, volume)["NATS_URL"])
                assert (address.username, address.hostname, address.port) == (user, "nats", 4222)
                client = await connect(nats.url_of(user, str(address.password)), allow_reconnect=False)
                await client.close()


@pytest.mark.parametrize(
    ("caller_name", "calling", "least"), [("orchestrator", orchestrator, 3), ("profile", profile, 2)]
)
def test_who_calls_others_may_call_what_it_calls_and_nothing_else(
    caller_name: str, calling: ModuleType, least: int
) -> None:
    needed = set()
    for name in re.findall(r"_stubs?(?:\[\w+\])?\.(\w+)\(", Path(str(calling.__file__)).read_text()):
        for module in (profile_service_pb2, segment_service_pb2, template_service_pb2, personal_data_service_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                if name in service.methods_by_name:
                    needed.add(service.methods_by_name[name].GetOptions().Extensions[options_pb2.required_scope])
    assert len(needed) >= least
    files = DEV.secret_files(caller_name)
    caller = parse(files["callers.yaml"].encode()).find(files["token"])
    assert caller is not None
    assert caller.name == caller_name
    assert set(caller.scopes.written) == needed
    assert caller.workspaces.everything
