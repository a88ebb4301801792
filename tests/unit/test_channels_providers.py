"""Which provider carries what, and what a configuration may not say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from camino.type.v1 import messaging_pb2

from services.channels.config import ChannelsConfig
from services.channels.providers.base import Accepted, Outgoing
from services.channels.providers.configured import providers
from services.channels.providers.log import LogProvider
from services.chassis.config import ConfigError, load
from services.chassis.testing import FakeClock


async def test_each_channel_has_the_provider_that_was_asked_for() -> None:
    config = ChannelsConfig(email_provider="smtp", smtp_host="relay.test", push_provider="none")
    made = providers(config, FakeClock())
    assert {channel: provider.name for channel, provider in made.items()} == {
        messaging_pb2.CHANNEL_EMAIL: "smtp",
        messaging_pb2.CHANNEL_SMS: "log",
        messaging_pb2.CHANNEL_WEBHOOK: "log",
    }
    assert all(provider.timeout < config.lease_seconds * 1_000_000 for provider in made.values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CAMINO_EMAIL_PROVIDER": "smtp"}, "CAMINO_SMTP_HOST"),
        ({"CAMINO_LEASE_SECONDS": "5"}, "CAMINO_LEASE_SECONDS must be longer"),
        ({"CAMINO_EMAIL_FROM": "nobody"}, "CAMINO_EMAIL_FROM"),
        ({"CAMINO_EMAIL_FROM": "a@b\nBcc: c@d"}, "CAMINO_EMAIL_FROM"),
        ({"CAMINO_SMTP_PASSWORD_FILE": "/nowhere/password"}, "CAMINO_SMTP_PASSWORD_FILE"),
        ({"CAMINO_CRASH_AT": "lunch"}, "CAMINO_CRASH_AT"),
    ],
)
def test_what_a_configuration_may_not_say(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], words: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        load(ChannelsConfig)


def test_a_password_comes_from_its_file_and_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    monkeypatch.setenv("CAMINO_SMTP_PASSWORD_FILE", str(file))
    config = load(ChannelsConfig)
    assert config.smtp_password.get_secret_value() == "secret"
    assert "secret" not in repr(config)


async def test_the_log_provider_writes_a_line_for_each_message(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    provider = LogProvider(path)
    message = Outgoing("demo", "s1", "ana@example.com", "Olá", "one\ntwo", "", "", marketing=True)
    assert await provider.send([message, message]) == [Accepted(), Accepted()]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["subject"] for line in lines] == ["Olá", "Olá"]
    assert lines[0]["to"] == "ana@example.com"
    await provider.close()
