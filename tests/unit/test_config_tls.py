"""Certificates in the settings: all that belongs together, or a word about what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from services.chassis.config import ConfigError, ServiceConfig, load
from tests.certificates import Mounted, mounted


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CAMINO_"):
            monkeypatch.delenv(name)


@pytest.fixture
def files(tmp_path: Path) -> Mounted:
    ca = trustme.CA()
    return mounted(tmp_path / "tls", ca, ca)


def test_files_that_fit_together_are_taken(files: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMINO_TLS_CERT_FILE", str(files.cert))
    monkeypatch.setenv("CAMINO_TLS_KEY_FILE", str(files.key))
    monkeypatch.setenv("CAMINO_TLS_CLIENT_CA_FILE", str(files.ca))
    monkeypatch.setenv("CAMINO_TLS_CA_FILE", str(files.ca))
    assert load(ServiceConfig).tls_cert_file == files.cert


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"CERT": "tls.crt"}, "CAMINO_TLS_CERT_FILE and CAMINO_TLS_KEY_FILE are set together"),
        ({"KEY": "tls.key"}, "CAMINO_TLS_CERT_FILE and CAMINO_TLS_KEY_FILE are set together"),
        ({"CLIENT_CA": "ca.crt"}, "CAMINO_TLS_CLIENT_CA_FILE needs CAMINO_TLS_CERT_FILE"),
        ({"CERT": "tls.crt", "KEY": "missing"}, "missing can't be read"),
        ({"CERT": "ca.crt", "KEY": "tls.key"}, "don't fit together"),
        ({"CA": "tls.key"}, "CAMINO_TLS_CA_FILE: .*tls.key holds no certificates"),
        ({"CERT": "tls.crt", "KEY": "tls.key", "CLIENT_CA": "tls.key"}, "CAMINO_TLS_CLIENT_CA_FILE: .*no certificates"),
    ],
)
def test_what_does_not_is_named(
    told: dict[str, str], complaint: str, files: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, file in told.items():
        monkeypatch.setenv(f"CAMINO_TLS_{name}_FILE", str(files.directory / file))
    with pytest.raises(ConfigError, match=complaint) as raised:
        load(ServiceConfig)
    assert "PRIVATE" not in str(raised.value)


def test_a_key_with_a_password_is_refused_without_asking_for_it(
    files: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    monkeypatch.setenv("CAMINO_TLS_CERT_FILE", str(files.cert))
    monkeypatch.setenv("CAMINO_TLS_KEY_FILE", str(encrypted))
    with pytest.raises(ConfigError, match="the key is encrypted"):
        load(ServiceConfig)
