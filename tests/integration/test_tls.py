"""TLS between real sockets: who is trusted, who is refused, and certificates that are replaced under way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import trustme
from camino.client import TlsFiles, channel
from camino.client.sync import channel as blocking
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats import connect
from structlog.testing import capture_logs

from services.chassis.broker import Broker
from services.chassis.config import ServiceConfig
from services.chassis.server import LIVE, Server
from services.chassis.tls import server_credentials
from tests.certificates import Mounted, mounted
from tests.servers import nats_server

ALIVE = health_pb2.HealthCheckRequest(service=LIVE)
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def ours() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def theirs() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_files(tmp_path: Path, ours: trustme.CA) -> Mounted:
    return mounted(tmp_path / "server", ours, ours)


@pytest.fixture
def client_files(tmp_path: Path, ours: trustme.CA) -> Mounted:
    return mounted(tmp_path / "client", ours, ours)


@asynccontextmanager
async def served(files: Mounted, *, mutual: bool = False) -> AsyncIterator[str]:
    config = ServiceConfig(
        tls_cert_file=files.cert, tls_key_file=files.key, tls_client_ca_file=files.ca if mutual else None
    )
    server = Server(credentials=server_credentials(config))
    try:
        yield f"127.0.0.1:{await server.start('127.0.0.1:0')}"
    finally:
        await server.stop(0)


def anonymous(files: Mounted) -> TlsFiles:
    return TlsFiles(files.ca)


def named(files: Mounted) -> TlsFiles:
    return TlsFiles(files.ca, files.cert, files.key)


async def answer(over: grpc.aio.Channel) -> grpc.StatusCode:
    """OK if whoever is at the other end says that it's alive."""
    try:
        reply = await health_pb2_grpc.HealthStub(over).Check(ALIVE, timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code()
    assert reply.status == SERVING
    return grpc.StatusCode.OK


async def answered(target: str, credentials: TlsFiles | None) -> grpc.StatusCode:
    """The answer over a connection of its own."""
    async with channel.open_channel(target, credentials=credentials) as over:
        return await answer(over)


async def test_calls_are_encrypted_to_whom_we_trust_only(
    tmp_path: Path, server_files: Mounted, client_files: Mounted, ours: trustme.CA, theirs: trustme.CA
) -> None:
    async with served(server_files) as target:
        assert await answered(target, anonymous(client_files)) is grpc.StatusCode.OK
        assert await answered(target, None) is grpc.StatusCode.UNAVAILABLE
        stranger = mounted(tmp_path / "stranger", theirs, ours)
        assert await answered(target, anonymous(stranger)) is grpc.StatusCode.UNAVAILABLE


async def test_with_mutual_tls_callers_show_a_certificate_of_ours(
    tmp_path: Path, server_files: Mounted, client_files: Mounted, ours: trustme.CA, theirs: trustme.CA
) -> None:
    async with served(server_files, mutual=True) as target:
        assert await answered(target, named(client_files)) is grpc.StatusCode.OK
        assert await answered(target, anonymous(client_files)) is grpc.StatusCode.UNAVAILABLE
        stranger = mounted(tmp_path / "stranger", ours, theirs)
        assert await answered(target, named(stranger)) is grpc.StatusCode.UNAVAILABLE
        late = mounted(tmp_path / "late", ours, ours, expired=True)
        assert await answered(target, named(late)) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_whose_certificate_has_expired_is_not_trusted(
    tmp_path: Path, client_files: Mounted, ours: trustme.CA
) -> None:
    async with served(mounted(tmp_path / "late", ours, ours, expired=True)) as target:
        assert await answered(target, anonymous(client_files)) is grpc.StatusCode.UNAVAILABLE


async def test_a_server_takes_a_new_certificate_while_its_connections_go_on(
    tmp_path: Path, server_files: Mounted, client_files: Mounted, ours: trustme.CA, theirs: trustme.CA
) -> None:
    of_theirs = mounted(tmp_path / "theirs", theirs, theirs)
    async with (
        served(server_files, mutual=True) as target,
        channel.open_channel(target, credentials=named(client_files)) as old,
    ):
        assert await answer(old) is grpc.StatusCode.OK
        assert await answered(target, named(of_theirs)) is grpc.StatusCode.UNAVAILABLE
        server_files.hold(theirs, theirs)
        assert await answered(target, named(of_theirs)) is grpc.StatusCode.OK
        assert await answered(target, named(client_files)) is grpc.StatusCode.UNAVAILABLE
        assert await answer(old) is grpc.StatusCode.OK


async def test_files_that_do_not_fit_together_are_not_taken_and_the_log_says_so(
    server_files: Mounted, client_files: Mounted, ours: trustme.CA
) -> None:
    async with served(server_files) as target:
        other = ours.issue_cert("localhost")
        with capture_logs() as logs:
            # Not with the key that goes with it.
            (server_files.directory / "..data" / "tls.crt").write_bytes(other.cert_chain_pems[0].bytes())
            assert await answered(target, anonymous(client_files)) is grpc.StatusCode.OK
        [complaint] = [line for line in logs if line["log_level"] == "error"]
        assert "don't fit together" in complaint["problem"]
        server_files.hold(ours, ours)
        assert await answered(target, anonymous(client_files)) is grpc.StatusCode.OK


class Who(grpc.GenericRpcHandler):
    """Answers with the certificate that the caller has shown: at once, or to `/who/Waits` when it's released."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            self._waits if handler_call_details.method == "/who/Waits" else self._calls
        )

    async def _calls(self, _request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        [shown] = context.auth_context()["x509_pem_cert"]
        return bytes(shown)

    async def _waits(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.begun.set()
        await self.released.wait()
        return await self._calls(request, context)


@asynccontextmanager
async def asked_who(files: Mounted) -> AsyncIterator[tuple[str, Who]]:
    config = ServiceConfig(tls_cert_file=files.cert, tls_key_file=files.key, tls_client_ca_file=files.ca)
    who = Who()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((who,))
    port = server.add_secure_port("127.0.0.1:0", server_credentials(config))
    await server.start()
    try:
        yield f"127.0.0.1:{port}", who
    finally:
        await server.stop(0)


async def test_a_client_shows_its_new_certificate_while_its_calls_go_on(
    server_files: Mounted, client_files: Mounted, theirs: trustme.CA
) -> None:
    before = client_files.cert.read_bytes()
    async with (
        asked_who(server_files) as (target, who),
        channel.open_channel(target, credentials=named(client_files)) as over,
    ):
        calls, waits = over.unary_unary("/who/Calls"), over.unary_unary("/who/Waits")
        waiting = asyncio.ensure_future(waits(b"", timeout=30))
        await who.begun.wait()
        server_files.hold(theirs, theirs)
        client_files.hold(theirs, theirs)
        assert await calls(b"", timeout=5) == client_files.cert.read_bytes() != before
        who.released.set()
        assert await waiting == before


async def test_the_blocking_flavour_shows_its_new_certificate_too(
    server_files: Mounted, client_files: Mounted, theirs: trustme.CA
) -> None:
    before = client_files.cert.read_bytes()
    async with asked_who(server_files) as (target, who):
        with blocking.open_channel(target, credentials=named(client_files)) as over:
            calls, waits = over.unary_unary("/who/Calls"), over.unary_unary("/who/Waits")
            waiting = waits.future(b"", timeout=30)
            await who.begun.wait()
            server_files.hold(theirs, theirs)
            client_files.hold(theirs, theirs)
            shown = await asyncio.to_thread(calls, b"", timeout=5)
            assert shown == client_files.cert.read_bytes() != before
            who.released.set()
            assert await asyncio.to_thread(waiting.result) == before


async def test_health_is_told_in_plaintext_where_that_is_asked_for_and_nothing_else(server_files: Mounted) -> None:
    config = ServiceConfig(tls_cert_file=server_files.cert, tls_key_file=server_files.key)
    server = Server(credentials=server_credentials(config))
    try:
        target = f"127.0.0.1:{await server.start('127.0.0.1:0')}"
        probed = f"127.0.0.1:{await server.start_health('127.0.0.1:0')}"
        assert await answered(probed, None) is grpc.StatusCode.OK
        assert await answered(target, None) is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(probed) as over:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await over.unary_unary("/camino.profile.v1.ProfileService/GetProfile")(b"")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(0)


async def test_the_broker_is_reached_by_tls_with_an_authority_of_our_own(
    tmp_path: Path, server_files: Mounted, theirs: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "nats.conf"
    settings.write_text(f'tls {{ cert_file: "{server_files.cert}", key_file: "{server_files.key}" }}')
    with nats_server(settings) as nats:
        address = nats.url.replace("nats://", "tls://")
        monkeypatch.setenv("SSL_CERT_FILE", str(server_files.ca))
        broker = await Broker.connect(address, "test")
        await broker.ping()
        await broker.close()
        theirs.cert_pem.write_to_path(tmp_path / "theirs.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "theirs.pem"))
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(address, allow_reconnect=False, error_cb=_nothing)


async def _nothing(_error: Exception) -> None:
    """The error is raised as well."""
