"""How the commands call services that take calls with TLS only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import trustme
from camino.ops.v1 import dead_letter_service_pb2_grpc as wire_grpc

from tests.certificates import Mounted, mounted
from tests.unit.test_cli_targets import DeadLetters, ask


@pytest.fixture
def files(tmp_path: Path) -> Mounted:
    ca = trustme.CA()
    return mounted(tmp_path / "tls", ca, ca)


@pytest.fixture
def target(files: Mounted) -> Iterator[str]:
    """A server that asks its callers for a certificate."""
    server = grpc.server(ThreadPoolExecutor(1))
    wire_grpc.add_DeadLetterServiceServicer_to_server(DeadLetters(), server)
    pair = (files.key.read_bytes(), files.cert.read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], files.ca.read_bytes(), True))
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_files_are_named_by_options_or_by_the_environment(target: str, files: Mounted) -> None:
    told = {"CA": str(files.ca), "CERT": str(files.cert), "KEY": str(files.key)}
    options = [word for name, path in told.items() for word in (f"--tls-{name.lower()}", path)]
    assert ask(target, *options).exit_code == 0
    assert ask(target, **{f"CAMINO_TLS_{name}_FILE": path for name, path in told.items()}).exit_code == 0


def test_without_them_there_is_no_answer(target: str, files: Mounted) -> None:
    assert ask(target).exit_code == 1
    assert ask(target, "--tls-ca", str(files.ca)).exit_code == 1


def test_what_is_wrong_with_them_is_told(target: str, files: Mounted, tmp_path: Path) -> None:
    def complaint(*options: str | Path) -> str:
        result = ask(target, *map(str, options), COLUMNS="300")
        assert result.exit_code == 2
        return result.output

    assert "can't be read" in complaint("--tls-ca", tmp_path / "missing")
    assert "holds no certificates" in complaint("--tls-ca", files.key)
    assert "given together" in complaint("--tls-ca", files.ca, "--tls-cert", files.cert)
    assert "needs --tls-ca" in complaint("--tls-cert", files.cert, "--tls-key", files.key)
