"""What people are told to type at night can be typed: commands, calls, queries, names and links of the pages for
operators."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from camino.client.connection import PORTS
from camino.testing.rpcs import rpcs
from google.protobuf import json_format

from cli.main import app
from docs.generate.settings import SERVICES, settings
from services.channels import app as channels
from services.channels.config import ChannelsConfig
from services.orchestrator import app as orchestrator
from services.profile import app as profile
from services.segment import app as segment
from tests.deploy.monitored import ALERTS, Monitored
from tests.deploy.promql import selectors
from tests.deploy.rendering import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*sorted((ROOT / "docs" / "runbooks").glob("*.md")), ROOT / "docs" / "operating.md")
}
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")
_VARIABLE = re.compile(r"\b(CAMINO_[A-Z_]+[A-Z])\b")
_OF_THE_COMMAND = {"CAMINO_TOKEN", "CAMINO_TOKEN_FILE", "CAMINO_ORCHESTRATOR_TARGET", "CAMINO_SECRETS_DIR"}
_STARTED = re.compile(r"(?:^|[|;&]) *(?:camino|xargs) ")
_CALL = re.compile(r"^ *call (\d+) ([\w.]+)/(\w+) '(.*?)'", re.MULTILINE)


def fences(page: str, kind: str) -> Iterator[str]:
    return (text for language, text in _FENCE.findall(PAGES[page]) if language == kind)


def commands(page: str) -> Iterator[list[str]]:
    """The arguments of each `camino` that the shell would start, also by xargs, which adds one."""
    for script in fences(page, "sh"):
        lines = script.replace("\\\n", " ").replace("|\n", "| ").splitlines()
        for line in filter(_STARTED.search, lines):
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in (*lexer, ";"):
                if not re.fullmatch(r"[|;&]+", word):
                    words.append(word)
                    continue
                if words[:1] == ["camino"]:
                    yield words[1:]
                elif words[:1] == ["xargs"] and "camino" in words:
                    at = words.index("camino")
                    yield [*words[at + 1 :], *([] if "-I" in words[:at] else ["ADDED"])]
                words = []


def understood(arguments: list[str]) -> None:
    """Raises an error of the command line's if it doesn't take these."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context("camino", list(arguments))


def test_there_are_commands_to_check() -> None:
    found = [command for page in PAGES for command in commands(page)]
    assert ["status"] in found
    assert ["dead-letters", "redrive", "--service", "segment", "ADDED"] in found
    assert len(found) > 20


@pytest.mark.parametrize("page", PAGES)
def test_the_command_line_takes_what_is_said(page: str) -> None:
    for arguments in commands(page):
        understood(arguments)


def test_what_the_command_line_does_not_take_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        understood(["messages", "list", "--state", "unknown", "--workspaces", "shop"])
    with pytest.raises(KeyError):
        understood(["dead-letters", "delete"])


@pytest.mark.parametrize("page", PAGES)
def test_calls_are_of_methods_that_take_them(page: str) -> None:
    methods = {rpc.path: rpc for rpc in rpcs()}
    for port, service, method, request in _CALL.findall(PAGES[page]):
        json_format.Parse(request, methods[f"/{service}/{method}"].request())
        served_by = {str(number): name for name, number in PORTS.items()}[port]
        assert service.split(".")[1] in (served_by, "ops")


@pytest.mark.parametrize("page", PAGES)
def test_queries_ask_for_what_there_is(page: str, there: Monitored) -> None:
    for query in fences(page, "promql"):
        assert [complaint for found in selectors(query) for complaint in there.complaints(found)] == []


@pytest.mark.parametrize("page", PAGES)
def test_settings_and_streams_that_are_named_exist(page: str) -> None:
    known = {name for config in SERVICES.values() for setting in settings(config) for name in setting.variables}
    for service, config in ((profile, "profile"), (segment, "segment"), (orchestrator, "orchestrator")):
        known |= {stream.name for stream in service.footing(SERVICES[config]()).streams}  # type: ignore[attr-defined]
    known |= {stream.name for stream in channels.footing(ChannelsConfig()).streams}
    assert set(_VARIABLE.findall(PAGES[page])) <= known | _OF_THE_COMMAND


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(PAGES[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("alert", sorted({rule["alert"] for rule in ALERTS}))
def test_a_page_says_what_somebody_needs_at_night(alert: str) -> None:
    page = PAGES[f"docs/runbooks/{alert}.md"]
    assert page.startswith(f"# {alert}\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert "Make sure" in headings
    assert any(heading.endswith("most likely first") for heading in headings) or "What to do" in headings
    assert headings[-2:] == ["Don't", "Call for help when"]


def test_what_is_inhibited_are_alerts() -> None:
    [rules] = [text for text in fences("docs/operating.md", "yaml") if "inhibit_rules" in yaml.safe_load(text)]
    alerts = {rule["alert"] for rule in ALERTS}
    patterns = re.findall(r'alertname=~"([^"]+)"', rules)
    assert len(patterns) == 2
    for pattern in "|".join(patterns).split("|"):
        assert any(re.fullmatch(pattern, alert) for alert in alerts), pattern
