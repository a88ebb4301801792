"""The client as others have it: built, installed, and run where nothing of this repository can be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.profile.v1 import profile_service_pb2 as wire
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceServicer, add_ProfileServiceServicer_to_server

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, sys
from importlib.resources import files

from camino.client import CaminoError, connect, new_event_id, pages
from camino.client import sync
from camino.profile.v1 import profile_service_pb2 as wire


async def main(target):
    async with connect(profile=target, token="secret") as client:
        async with client.ingestion("shop") as ingestion:
            event = wire.EventInput(event_id=new_event_id(), type="click", profile_id="ana")
            receipt = await ingestion.event(event)
            print((await receipt).profile_id)
        listed = pages(client.profiles.ListProfiles, wire.ListProfilesRequest(workspace_id="shop"))
        print([profile.profile_id async for profile in listed])
        try:
            await client.profiles.GetProfile(wire.GetProfileRequest(workspace_id="shop", profile_id="x"))
        except CaminoError as error:
            print(error)


asyncio.run(main(sys.argv[1]))
with sync.connect(profile=sys.argv[1], token="secret") as client:
    print(len(client.profiles.ListProfiles(wire.ListProfilesRequest(workspace_id="shop")).profiles))
print("ProfileService.GetProfile:" in files("camino.profile.v1").joinpath("examples.yaml").read_text())
for name, module in sys.modules.items():
    if name.partition(".")[0] in ("camino", "buf", "services", "cli"):
        print("from", getattr(module, "__file__", None) or list(module.__path__)[0])
"""


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the working tree stays as it is and nothing outside the copy can be needed."""
    copy = tmp_path_factory.mktemp("source")
    for part in ("protos", "clients/python"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    dist = copy / "dist"
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", dist]
    run(sys.executable, "-m", "pip", "wheel", *options, copy / "clients/python")
    [built] = dist.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    return target


class Profiles(ProfileServiceServicer):
    """Ana is there, and nobody else."""

    def __init__(self) -> None:
        self.tokens: set[str | bytes | None] = set()

    def IngestEvents(self, request: Any, context: Any) -> wire.IngestEventsResponse:
        self.tokens.add(dict(context.invocation_metadata()).get("authorization"))
        results = [
            wire.ItemResult(outcome=wire.ITEM_OUTCOME_OK, profile_id=event.profile_id) for event in request.events
        ]
        return wire.IngestEventsResponse(results=results)

    def ListProfiles(self, request: Any, context: Any) -> wire.ListProfilesResponse:
        return wire.ListProfilesResponse(profiles=[{"profile_id": "ana"}])

    def GetProfile(self, request: Any, context: Any) -> wire.GetProfileResponse:
        context.abort(grpc.StatusCode.NOT_FOUND, "there is nobody else")
        raise AssertionError


@pytest.fixture
def profiles() -> Profiles:
    return Profiles()


@pytest.fixture
def target(profiles: Profiles) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    add_ProfileServiceServicer_to_server(profiles, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_wheel_holds_the_client_its_tests_and_the_contract_and_nothing_of_the_services(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "clients/python/camino").rglob("*.py"):
        assert str(path.relative_to(ROOT / "clients/python")) in names
    for path in (ROOT / "protos").rglob("*.proto"):
        generated = str(path.relative_to(ROOT / "protos").with_suffix(""))
        assert {f"{generated}_pb2.py", f"{generated}_pb2.pyi", f"{generated}_pb2_grpc.pyi"} <= names
    for path in (ROOT / "protos").rglob("examples.yaml"):
        assert str(path.relative_to(ROOT / "protos")) in names
    for package in ("client", "testing", "profile/v1", "errors/v1"):
        assert f"camino/{package}/py.typed" in names
    assert "camino/camino.binpb" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"camino", "buf"}
    assert not [name for name in names if "__init__" in name and name.count("/") == 1]


def test_it_has_the_version_of_the_project(wheel: Path):
    assert wheel.name.split("-")[:2] == ["camino_client", distribution("camino").version]


def test_a_program_that_has_only_the_wheel_calls_a_server(installed: Path, target: str, profiles: Profiles):
    # `-S` leaves out the `.pth` files, by which this environment finds the repository.
    site = distribution("grpcio").locate_file("")
    path = f"{installed}{os.pathsep}{site}"
    said = run(sys.executable, "-S", "-c", PROGRAM, target, PYTHONPATH=path, PYTHONSAFEPATH="1").splitlines()
    assert said[:5] == ["ana", "['ana']", "NOT_FOUND: there is nobody else", "1", "True"]
    places = [line.removeprefix("from ") for line in said[5:]]
    assert len(places) > 20
    assert [place for place in places if not place.startswith(str(installed))] == []
    assert profiles.tokens == {"Bearer secret"}
