"""Alerts and dashboards: they ask for what there is, say what to do, and alerts fire when they should."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring.generate.files import files
from services.profile.app import ProfileConfig
from tests.deploy.monitored import ALERTS, MONITORING, RECORDED, RULES, Monitored
from tests.deploy.promql import labels_of, parse, selectors
from tests.deploy.rendering import DEPLOY, ROOT, manifests
from tests.servers import binary

DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (MONITORING / "dashboards").glob("*.json")}
CASES = Path(__file__).with_name("alerts_test.yaml")
RUNBOOKS = ROOT / "docs" / "runbooks"
_TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")
_LEGEND_LABEL = re.compile(r"{{\s*(\w+)\s*}}")


def told(rule: dict[str, Any]) -> str:
    """A rule for the names of tests."""
    return str(rule.get("alert") or rule["record"])


PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in sorted(DASHBOARDS.items())
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


@pytest.mark.parametrize("rule", RULES, ids=told)
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any], there: Monitored) -> None:
    assert [complaint for found in selectors(rule["expr"]) for complaint in there.complaints(found)] == []


@pytest.mark.parametrize("rule", ALERTS, ids=told)
def test_an_alert_tells_of_labels_that_it_has(rule: dict[str, Any], there: Monitored) -> None:
    told_of = set(_TEMPLATE_LABEL.findall(str(rule["annotations"])))
    assert told_of <= labels_of(rule["expr"], there.series)


@pytest.mark.parametrize("rule", ALERTS, ids=told)
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/{rule['alert']}.md")
    assert "$value" in rule["annotations"]["description"] or "for" in rule


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    alerts = {rule["alert"] for rule in ALERTS}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == alerts
    index = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (.+?) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    severities = {
        alert: {rule["labels"]["severity"] for rule in ALERTS if rule["alert"] == alert} for alert, _ in index
    }
    wakes = {"yes": {"critical"}, "no": {"warning"}, "if it's bad": {"critical", "warning"}}
    assert sorted(alert for alert, _ in index) == sorted(alerts)
    assert severities == {alert: wakes[answer] for alert, answer in index}


def test_what_is_recorded_is_used() -> None:
    used = {found.name for rule in RULES for found in selectors(rule["expr"])}
    used |= {
        found.name for param in PANELS for target in param.values[0]["targets"] for found in selectors(target["expr"])
    }
    assert RECORDED.keys() <= used


def test_the_alert_for_partitions_knows_how_many_there_are() -> None:
    [rule] = [rule for rule in ALERTS if rule["alert"] == "CaminoPartitionsUnheld"]
    partitions = manifests("prod").settings()["CAMINO_PARTITIONS"]
    assert str(ProfileConfig().partitions) == partitions
    assert parse(rule["expr"]).rhs.val == float(partitions)
    assert f"of the {partitions} partitions" in rule["annotations"]["description"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any], there: Monitored) -> None:
    for target in panel["targets"]:
        found = selectors(target["expr"])
        assert [complaint for selector in found for complaint in there.complaints(selector)] == []
        assert all("namespace" in (selector.labels | selector.patterns.keys()) for selector in found), "of all places"
        assert set(_LEGEND_LABEL.findall(target["legendFormat"])) <= labels_of(target["expr"], there.series)


def test_dashboards_can_be_told_apart() -> None:
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) >= 4
    for dashboard in DASHBOARDS.values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)


def test_what_is_made_of_sources_is_as_they_are() -> None:
    made = files()
    assert {path: path.read_text() for path in made} == made, "run `make monitoring`"
    assert {path for path in made if path.parent.name == "dashboards"} == set(
        (MONITORING / "dashboards").glob("*.json")
    )


def test_all_of_it_comes_with_an_overlay_that_takes_it_in(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": "camino",
                "components": [os.path.relpath(MONITORING.resolve(), tmp_path.resolve())],
            }
        )
    )
    rendered = subprocess.run([binary("kubectl"), "kustomize", tmp_path], check=True, stdout=subprocess.PIPE, text=True)
    found = {each["kind"]: each for each in yaml.safe_load_all(rendered.stdout)}
    assert {each["metadata"]["namespace"] for each in found.values()} == {"camino"}
    assert found["PodMonitor"]["spec"] == yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text())["spec"]
    assert found["PrometheusRule"]["spec"] == yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    dashboards = found["ConfigMap"]["data"]
    assert {name: json.loads(text) for name, text in dashboards.items()} == {
        f"{name}.json": dashboard for name, dashboard in DASHBOARDS.items()
    }
    # kubectl keeps what was applied in an annotation, and there is no room for more.
    assert len(json.dumps(found["ConfigMap"])) < 262_144


def test_what_is_read_are_the_ports_of_the_pods_and_whose_they_are() -> None:
    spec = yaml.safe_load((MONITORING / "pod-monitor.yaml").read_text())["spec"]
    [endpoint] = spec["podMetricsEndpoints"]
    [relabelling] = endpoint["relabelings"]
    assert relabelling["targetLabel"] == "service"
    for name, deployment in manifests("prod").services():
        template = deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        found = {
            f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9]', '_', label)}": labels[label] for label in labels
        }
        assert [found[label] for label in relabelling["sourceLabels"]] == [name]
        [serve] = template["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in serve["ports"]}


def test_for_each_alert_there_is_a_case_in_which_it_fires() -> None:
    fired = {
        tuple(re.findall(r'(?:alertname|severity)="(\w+)"', sample["labels"]))
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for test in case["promql_expr_test"]
        for sample in test.get("exp_samples", ())
    }
    assert fired == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is of Debian's package prometheus")
def test_alerts_fire_when_they_should_and_only_then() -> None:
    checked = subprocess.run(["promtool", "check", "rules", DEPLOY / "monitoring/alerts.yaml"], capture_output=True)
    assert checked.returncode == 0, checked.stderr
    tested = subprocess.run(["promtool", "test", "rules", CASES], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr
