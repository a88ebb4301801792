"""The page of settings: it's as the classes are, and what it says is what they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import settings
from docs.generate.settings import SERVICES, NoMeaning
from services.chassis.config import ServiceConfig, load
from services.orchestrator.app import OrchestratorConfig

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_as_the_settings_are() -> None:
    assert PAGE.read_text() == settings.page(), "run `make docs`"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_what_the_page_says(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SERVICES[service]
    numbers = [setting for setting in settings.settings(config) if setting.default.isdigit()]
    assert len(numbers) >= 3
    for number in numbers:
        monkeypatch.setenv(number.variables[-1], str(int(number.default) + 1))
    read = load(config).model_dump()
    for number in numbers:
        name = number.variables[-1].removeprefix("CAMINO_").lower()
        assert read[name] == int(number.default) + 1


def test_variables_of_other_names_are_read_by_those(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        variable: setting
        for setting in settings.settings(ServiceConfig)
        for variable in setting.variables
        if not variable.startswith("CAMINO_")
    }
    assert {"NATS_URL", "MONGODB_URI"} <= others.keys()
    monkeypatch.setenv("NATS_URL", "nats://there:4222")
    monkeypatch.setenv("MONGODB_URI", "mongodb://there")
    config = load(ServiceConfig)
    assert (config.nats_url, config.mongodb_uri) == ("nats://there:4222", "mongodb://there")


def test_what_a_setting_may_be_is_told_in_words() -> None:
    told = {setting.variables[0]: setting for config in SERVICES.values() for setting in settings.settings(config)}
    assert told["CAMINO_PARTITIONS"].values == "from 1 to 256"
    assert told["CAMINO_DRAIN_SECONDS"].values == "more than 0 to 300"
    assert told["CAMINO_EMAIL_PROVIDER"].values == "`log`, `smtp`, `none`"
    assert told["CAMINO_CALLERS_FILE"].values == "a path"
    assert told["MONGODB_URI"].meaning.endswith("the embedded store in `CAMINO_DATA_DIR`.")
    assert told["CAMINO_PROFILE_TARGET"].default == OrchestratorConfig().profile_target


def test_a_secret_is_never_shown() -> None:
    told = {setting.variables[0]: setting for setting in settings.settings(SERVICES["channels"])}
    assert (told["CAMINO_SMTP_PASSWORD"].default, told["CAMINO_SMTP_PASSWORD"].values) == ("", "a secret")


def test_a_setting_without_a_meaning_is_refused() -> None:
    class Silent(ServiceConfig):
        volume: int = 11

    with pytest.raises(NoMeaning, match=r"Silent\.volume"):
        list(settings.settings(Silent))
