"""`camino apply` and `camino get` with how a workspace tells people apart: of which there is one, without an id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from camino.testing.fake import FakeCamino
from typer.testing import CliRunner, Result

from cli.documents import Parser
from cli.main import app

RULES = """\
kind: ProfileRules
spec:
  namespaces:
    - {name: member_id, priority: 900, unique: true}
  sources:
    - {name: crm, priority: %s}
"""


@pytest.fixture
def fake() -> Iterator[FakeCamino]:
    with FakeCamino() as fake:
        yield fake


def camino(fake: FakeCamino, *arguments: str, text: str | None = None) -> Result:
    environment = {f"CAMINO_{service}_TARGET": fake.target for service in ("PROFILE", "SEGMENT", "ORCHESTRATOR")}
    return CliRunner().invoke(app, [*arguments, "-w", "shop"], env=environment, input=text)


def applied(fake: FakeCamino, text: str) -> str:
    result = camino(fake, "apply", "-f", "-", text=text)
    assert result.exit_code == 0, result.stderr
    [line] = [line for line in result.stdout.splitlines() if " ProfileRules " in line]
    return [cell.strip() for cell in line.strip("│").split("│")][-1]


def test_rules_are_applied_and_shown(fake: FakeCamino) -> None:
    assert [applied(fake, RULES % priority) for priority in (5, 5, 7)] == ["created", "unchanged", "updated"]
    shown = yaml.safe_load(camino(fake, "get", "rules", "-o", "yaml").stdout)
    assert shown["definition"]["sources"] == [{"name": "crm", "priority": 7}]
    assert [one["name"] for one in shown["definition"]["namespaces"][:2]] == ["user_id", "member_id"]
    table = camino(fake, "get", "rules").stdout
    assert all(word in table for word in ("member_id", "900", "crm", "email"))


def test_what_is_shown_can_be_applied(fake: FakeCamino) -> None:
    applied(fake, RULES % 5)
    shown = yaml.safe_load(camino(fake, "get", "rules", "-o", "yaml").stdout)
    assert applied(fake, yaml.safe_dump({"kind": "ProfileRules", "spec": shown["definition"]})) == "unchanged"


def test_a_violation_is_shown_where_it_stands(fake: FakeCamino) -> None:
    text = "kind: ProfileRules\nspec:\n  namespaces:\n    - name: user_id\n      priority: 1\n"
    result = camino(fake, "apply", "-f", "-", text=text)
    assert result.exit_code == 1
    assert (
        "profile rules shop: standard input:4: spec.namespaces[0].unique: 'user_id' tells people apart" in result.stderr
    )


def test_rules_have_no_id(fake: FakeCamino) -> None:
    parser = Parser("shop")
    parser.read("rules.yaml", "id: mine\n" + RULES % 5)
    assert [str(problem) for problem in parser.problems] == [
        "rules.yaml:1: id: ProfileRules have none: a workspace has them once; remove it"
    ]
    assert camino(fake, "get", "rules", "mine").exit_code == 2


def test_a_workspace_has_its_rules_once() -> None:
    parser = Parser("shop")
    parser.read("rules.yaml", f"{RULES % 1}---\n{RULES % 2}---\nworkspace: other\n{RULES % 3}")
    [problem] = parser.problems
    assert problem.message == "profile rules shop is also at rules.yaml:1"
