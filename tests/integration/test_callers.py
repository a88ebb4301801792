"""Callers as the services see them: over gRPC, with a file of callers that changes under way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
import yaml
from camino.client import CaminoError, from_rpc_error
from camino.ops.v1 import dead_letter_service_pb2, dead_letter_service_pb2_grpc
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from services.chassis.callers_file import parse
from services.chassis.callers_watch import WatchedCallers
from services.chassis.clock import SECOND
from services.chassis.testing import FakeClock, eventually, serving
from services.profile.app import ProfileConfig, build
from tests.house import SEND, house
from tests.servers import NatsServer, Process, nats_server

ROOT = Path(__file__).parents[2]
PROCESS = (sys.executable, "-m", "services.profile")
SERVICE = "camino.profile.v1.ProfileService"


def entry(name: str, token: str, scopes: list[str], workspaces: list[str]) -> dict[str, object]:
    digest = sha256(token.encode()).hexdigest()
    return {"name": name, "token_sha256": digest, "scopes": scopes, "workspaces": workspaces}


def content(*entries: dict[str, object]) -> bytes:
    return yaml.safe_dump({"callers": list(entries)}).encode()


WRITER = entry("shop-backend", "writer-token", ["profiles.write"], ["shop"])
READER = entry("dashboard", "reader-token", ["profiles.*"], ["shop", "trial-*"])
OPERATOR = entry("operator", "operator-token", ["*"], ["*"])


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def failure(call: Any) -> CaminoError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


def listing(workspace_id: str = "shop", **more: int) -> pb.ListProfilesRequest:
    return pb.ListProfilesRequest(workspace_id=workspace_id, **more)


def ingestion(workspace_id: str = "shop") -> pb.IngestProfilesRequest:
    item = pb.ProfileInput()
    item.identities.add(namespace="email", value="ana@example.com")
    return pb.IngestProfilesRequest(workspace_id=workspace_id, profiles=[item])


@pytest.fixture(scope="module")
def servers() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@dataclass(frozen=True)
class Served:
    """The profile service, and the file that says who may call it."""

    channel: grpc.aio.Channel
    profiles: Any
    file: Path
    clock: FakeClock

    async def until(self, probe: Any) -> Any:
        """The probe's answer once it isn't None or false, while the clock goes on to when the file is looked at."""

        async def again() -> Any:
            self.clock.advance(SECOND)
            return await probe()

        return await eventually(again)

    async def is_let_in(self, token: str) -> bool:
        try:
            await self.profiles.ListProfiles(listing(), metadata=bearing(token))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            return False
        return True


@pytest.fixture
async def served(servers: NatsServer, tmp_path: Path) -> AsyncIterator[Served]:
    file = tmp_path / "callers.yaml"
    file.write_bytes(content(WRITER, READER, OPERATOR))
    clock = FakeClock()
    callers = WatchedCallers.open(file, clock)
    config = ProfileConfig(nats_url=servers.url, data_dir=tmp_path, partitions=1, migrate_on_start=True)
    async with build(config, clock) as app:
        app.loops.append(callers)
        async with serving(app, callers) as channel:
            yield Served(channel, ProfileServiceStub(channel), file, clock)


async def test_who_has_the_scope_in_the_workspace_is_let_in(served: Served) -> None:
    [result] = (await served.profiles.IngestProfiles(ingestion(), metadata=bearing("writer-token"))).results
    assert result.outcome == pb.ITEM_OUTCOME_OK
    for token, workspace_id in (("reader-token", "trial-7"), ("operator-token", "anything"), ("reader-token", "shop")):
        found = await served.profiles.ListProfiles(listing(workspace_id), metadata=bearing(token))
        assert found.total_size == (workspace_id == "shop")


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "reader-token"),),
        (("authorization", "Basic reader-token"),),
        bearing("nobodys-token"),
        (*bearing("reader-token"), *bearing("operator-token")),
    ],
)
@pytest.mark.parametrize("request_", [listing(), listing("NO SPACES", page_size=-1)])
async def test_who_is_not_known_learns_only_how_to_be(served: Served, metadata: Any, request_: Any) -> None:
    error = await failure(served.profiles.ListProfiles(request_, metadata=metadata))
    assert (error.code(), error.reason_name) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert not error.violations
    assert "-token" not in str(error)


async def test_what_outsiders_send_is_not_even_parsed(served: Served) -> None:
    garbage = served.channel.unary_unary(f"/{SERVICE}/ListProfiles")
    for metadata, code in (
        ((), grpc.StatusCode.UNAUTHENTICATED),
        (bearing("writer-token"), grpc.StatusCode.PERMISSION_DENIED),
    ):
        assert (await failure(garbage(b"\xff", metadata=metadata))).code() is code


@pytest.mark.parametrize("request_", [listing(), listing("elsewhere"), listing("NO SPACES")])
async def test_who_lacks_the_scope_is_told_which(served: Served, request_: Any) -> None:
    error = await failure(served.profiles.ListProfiles(request_, metadata=bearing("writer-token")))
    assert (error.code(), error.reason_name) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert error.metadata == {"scope": "profiles.read"}
    assert "needs scope profiles.read; caller shop-backend has profiles.write" in str(error)


async def test_other_workspaces_are_out_of_reach(served: Served) -> None:
    error = await failure(served.profiles.IngestProfiles(ingestion("other"), metadata=bearing("writer-token")))
    assert (error.code(), error.reason_name) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert error.metadata == {"workspace_id": "other"}
    found = await served.profiles.ListProfiles(listing("other"), metadata=bearing("operator-token"))
    assert found.total_size == 0


async def test_a_request_without_its_workspace_is_malformed_and_not_forbidden(served: Served) -> None:
    error = await failure(served.profiles.ListProfiles(listing(""), metadata=bearing("reader-token")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_dead_letters_are_for_those_who_have_all_workspaces(served: Served) -> None:
    some = entry("some", "some-token", ["*"], ["shop", "trial-*"])
    served.file.write_bytes(content(some, OPERATOR))

    async def known() -> bool:
        return await served.is_let_in("some-token")

    await served.until(known)
    letters = dead_letter_service_pb2_grpc.DeadLetterServiceStub(served.channel)
    request = dead_letter_service_pb2.ListDeadLettersRequest()
    error = await failure(letters.ListDeadLetters(request, metadata=bearing("some-token")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.metadata == {"workspace_id": "*"}
    assert (await letters.ListDeadLetters(request, metadata=bearing("operator-token"))).total_size == 0


async def test_health_and_reflection_are_open(served: Served) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert SERVICE in {found.name for found in (await call.read()).list_services_response.service}


async def test_a_token_is_replaced_without_a_restart_as_kubernetes_replaces_a_secret(served: Served) -> None:
    new = entry("dashboard", "new-token", ["profiles.read"], ["shop"])
    for number, (entries, old_in, new_in) in enumerate((((READER, new), True, True), ((new,), False, True))):
        version = served.file.with_name(f"version-{number}.yaml")
        version.write_bytes(content(*entries))
        link = served.file.with_name("link")
        link.symlink_to(version)
        link.replace(served.file)

        async def taken(wanted: tuple[bool, bool] = (old_in, new_in)) -> bool:
            return (await served.is_let_in("reader-token"), await served.is_let_in("new-token")) == wanted

        await served.until(taken)


async def test_a_bad_file_is_told_once_and_the_old_one_stays_in_force(served: Served) -> None:
    with capture_logs() as logs:

        async def told(event: str) -> bool:
            return any(event in line["event"] for line in logs)

        served.file.write_bytes(content({**READER, "scopes": ["all"]}))
        await served.until(lambda: told("callers not taken"))
        for _ in range(10):
            served.clock.advance(10 * SECOND)
            assert await served.is_let_in("reader-token")
        served.file.unlink()
        await served.until(lambda: told("callers can't be read"))
        assert await served.is_let_in("reader-token")
        served.file.write_bytes(content(OPERATOR))
        await served.until(lambda: told("callers read again"))
        assert not await served.is_let_in("reader-token")
        assert await served.is_let_in("operator-token")
    told_ = [line for line in logs if line["event"].startswith("callers")]
    assert [line["log_level"] for line in told_] == ["error", "error", "info"]
    assert [problem.split(":")[0] for problem in told_[0]["problems"]] == ["callers[0].scopes[0]"]


async def test_the_log_says_who_called_and_never_with_which_token(served: Served) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await failure(served.profiles.ListProfiles(listing("NO SPACES"), metadata=bearing("reader-token")))
        await failure(served.profiles.ListProfiles(listing(), metadata=bearing("writer-token")))
        await failure(served.profiles.ListProfiles(listing(), metadata=bearing("nobodys-token")))
    lines = [line for line in logs if line["event"] == "call failed"]
    assert [(line.get("caller"), line["reason"]) for line in lines] == [
        ("dashboard", "INVALID_FIELD"),
        ("shop-backend", "PERMISSION_DENIED"),
        (None, "UNAUTHENTICATED"),
    ]
    assert "-token" not in str(logs)


async def test_services_call_each_other_with_their_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("operator-token\n")
    async with house(tmp_path, callers=parse(content(OPERATOR)), token_file=token) as all_four:
        await all_four.template()
        # Publishing asks the channels for the template.
        journey = await all_four.journey([{"id": "hello", "send": SEND}])
        assert journey.version == 1
        async with grpc.aio.insecure_channel(all_four.addresses["profile"]) as outside:
            error = await failure(ProfileServiceStub(outside).ListProfiles(listing()))
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def environment(servers: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For the service as a process; where its file of callers would be."""
    for name, value in {
        "CAMINO_DATA_DIR": str(tmp_path),
        "CAMINO_MIGRATE_ON_START": "true",
        "CAMINO_LISTEN": "127.0.0.1:0",
        "MONGODB_URI": "",
        "NATS_URL": servers.url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CAMINO_CALLERS_FILE", raising=False)
    return tmp_path / "callers.yaml"


@pytest.fixture(params=["guarded", "open"])
def guarded(request: pytest.FixtureRequest, environment: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "guarded":
        environment.write_bytes(content(READER))
        monkeypatch.setenv("CAMINO_CALLERS_FILE", str(environment))
    return bool(request.param == "guarded")


async def test_a_process_is_open_only_without_a_file_and_says_so(guarded: bool) -> None:
    process = Process(PROCESS, ROOT)
    try:
        if not guarded:
            process.said(r"open to everybody.*CAMINO_CALLERS_FILE")
        address = process.said(r'"listen": ?"([^"]+)".*"ready"|"ready".*"listen": ?"([^"]+)"')
        async with grpc.aio.insecure_channel(address[1] or address[2]) as channel:
            profiles: Any = ProfileServiceStub(channel)
            assert (await profiles.ListProfiles(listing(), metadata=bearing("reader-token"))).total_size == 0
            if guarded:
                error = await failure(profiles.ListProfiles(listing()))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            else:
                await profiles.ListProfiles(listing())
    finally:
        process.stop()


def test_a_process_with_a_bad_file_does_not_start(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.write_bytes(content({**READER, "token_sha256": "reader-token"}, {**WRITER, "name": ""}))
    monkeypatch.setenv("CAMINO_CALLERS_FILE", str(environment))
    ended = subprocess.run(PROCESS, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "callers[0].token_sha256: " in ended.stderr
    assert "callers[1].name: " in ended.stderr
    assert "reader-token" not in ended.stderr
