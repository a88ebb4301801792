"""The files that are made: dashboards, and the alerts in the form of the Prometheus Operator."""

from __future__ import annotations

from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.monitoring.generate import overview, people, sends, stores

HERE = Path(__file__).resolve().parents[1]

_MADE = "# Made from alerts.yaml by `make monitoring`.\n"


def files() -> dict[Path, str]:
    """The text of each file, by its path."""
    made = {HERE / "prometheus-rule.yaml": _rule((HERE / "alerts.yaml").read_text())}
    for name, build in (
        ("overview", overview.dashboard),
        ("people", people.dashboard),
        ("sends", sends.dashboard),
        ("stores", stores.dashboard),
    ):
        made[HERE / "dashboards" / f"{name}.json"] = (
            JSONEncoder(sort_keys=True, indent=1).encode(build().build()) + "\n"
        )
    return made


def _rule(alerts: str) -> str:
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "camino"},
        "spec": yaml.safe_load(alerts),
    }
    return _MADE + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)
