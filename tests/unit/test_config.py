"""The configuration: from the environment, with one error for all that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.chassis.config import ConfigError, ServiceConfig, load


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("CAMINO_") or name in ("NATS_URL", "MONGODB_URI"):
            monkeypatch.delenv(name)


def test_everything_has_a_default() -> None:
    config = load(ServiceConfig)
    assert config.listen == "127.0.0.1:0"
    assert config.partitions == 8
    assert config.instance == "embedded"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CAMINO_LISTEN": "0.0.0.0:8080",
        "CAMINO_PARTITIONS": "16",
        "CAMINO_DATA_DIR": "/var/lib/camino",
        "CAMINO_MIGRATE_ON_START": "true",
        "NATS_URL": "nats://a:4222,nats://b:4222",
        "MONGODB_URI": "mongodb://m/?replicaSet=rs",
    }.items():
        monkeypatch.setenv(name, value)
    config = load(ServiceConfig)
    assert (config.listen, config.partitions, config.migrate_on_start) == ("0.0.0.0:8080", 16, True)
    assert config.data_dir == Path("/var/lib/camino")
    assert config.nats_url == "nats://a:4222,nats://b:4222"
    assert config.mongodb_uri == "mongodb://m/?replicaSet=rs"
    assert config.instance not in ("", "embedded")


def test_one_error_lists_every_problem_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "CAMINO_LISTEN": "nowhere",
        "CAMINO_PARTITIONS": "0",
        "CAMINO_LOG_LEVEL": "loud",
        "CAMINO_DRAIN_SECONDS": "soon",
        "CAMINO_DELETABLE_WORKSPACES": "test-(",
        "NATS_URL": "http://example.com",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        load(ServiceConfig)
    lines = str(raised.value).splitlines()[1:]
    assert {line.split(":")[0].strip() for line in lines} == {
        "CAMINO_LISTEN",
        "CAMINO_PARTITIONS",
        "CAMINO_LOG_LEVEL",
        "CAMINO_DRAIN_SECONDS",
        "CAMINO_DELETABLE_WORKSPACES",
        "NATS_URL",
    }
    assert "'loud'" in str(raised.value)


def test_a_port_is_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMINO_LISTEN", "[::]:65535")
    assert load(ServiceConfig).listen == "[::]:65535"
    monkeypatch.setenv("CAMINO_LISTEN", "[::]:65536")
    with pytest.raises(ConfigError, match="CAMINO_LISTEN: the port must be at most 65535"):
        load(ServiceConfig)


def test_an_error_keeps_a_password_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "http://camino:hunter2@example.com")
    with pytest.raises(ConfigError) as raised:
        load(ServiceConfig)
    assert "NATS_URL" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_services_own_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config(ServiceConfig):
        retries: int

    with pytest.raises(ConfigError, match="CAMINO_RETRIES"):
        load(Config)
    monkeypatch.setenv("CAMINO_RETRIES", "3")
    assert load(Config).retries == 3


def test_a_token_file_must_hold_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("CAMINO_TOKEN_FILE", str(file))
    with pytest.raises(ConfigError, match=r"CAMINO_TOKEN_FILE: .*can't be read: No such file"):
        load(ServiceConfig)
    file.write_text("secret words")
    with pytest.raises(ConfigError, match=r"CAMINO_TOKEN_FILE: .*visible ASCII") as raised:
        load(ServiceConfig)
    assert "secret words" not in str(raised.value)
    file.write_text("secret")
    assert load(ServiceConfig).token_file == file
