"""Secrets as files: a directory with one for each setting, as Kubernetes mounts it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.channels.config import ChannelsConfig
from services.chassis.config import ConfigError, ServiceConfig, load


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CAMINO_") or name in ("NATS_URL", "MONGODB_URI"):
            monkeypatch.delenv(name)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory laid out as the kubelet does: links to links, so that all files change at once."""
    held = tmp_path / "..2026_01_01"
    held.mkdir()
    (tmp_path / "..data").symlink_to(held.name)
    for name, value in {
        "MONGODB_URI": "mongodb://camino:secret@m/?replicaSet=rs\n",
        "NATS_URL": "nats://camino:secret@nats:4222",
        "CAMINO_SMTP_PASSWORD": "hunter2\n",
        "token": "not a setting",
    }.items():
        (held / name).write_text(value)
        (tmp_path / name).symlink_to(f"..data/{name}")
    monkeypatch.setenv("CAMINO_SECRETS_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("secrets")
def test_settings_come_from_files_named_as_their_variables() -> None:
    config = load(ChannelsConfig)
    assert config.mongodb_uri == "mongodb://camino:secret@m/?replicaSet=rs"
    assert config.nats_url == "nats://camino:secret@nats:4222"
    assert config.smtp_password.get_secret_value() == "hunter2"


@pytest.mark.usefixtures("secrets")
def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://here:4222")
    assert load(ServiceConfig).nats_url == "nats://here:4222"


def test_what_a_file_says_is_checked_and_a_password_kept(secrets: Path) -> None:
    (secrets / "..data" / "NATS_URL").write_text("http://camino:secret@nats")
    with pytest.raises(ConfigError, match="NATS_URL") as raised:
        load(ServiceConfig)
    assert "secret" not in str(raised.value)


@pytest.mark.usefixtures("secrets")
def test_no_password_is_told_with_settings_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMINO_EMAIL_PROVIDER", "smtp")
    with pytest.raises(ConfigError, match="CAMINO_EMAIL_PROVIDER=smtp needs CAMINO_SMTP_HOST") as raised:
        load(ChannelsConfig)
    assert "hunter2" not in str(raised.value)


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMINO_SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match=r"CAMINO_SECRETS_DIR: .*missing"):
        load(ServiceConfig)


def test_a_file_that_leads_elsewhere_is_not_read(secrets: Path) -> None:
    """A link out of the directory is refused, aloud."""
    (secrets / "MONGODB_URI").unlink()
    (secrets / "MONGODB_URI").symlink_to("/etc/hostname")
    with pytest.warns(UserWarning, match="outside"):
        assert load(ServiceConfig).mongodb_uri == ""
