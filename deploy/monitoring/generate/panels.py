"""What the dashboards are made of: queries, graphs of them, and single numbers.

In an expression, `HERE` stands for the matcher of the namespace that is chosen at the top of the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_NAMESPACE = 'namespace=~"$namespace"'
_TAG = "camino"

Unit = Literal["short", "s", "reqps", "ops", "percentunit"]


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""
    """What each series is called; may use its labels: `{{service}}`."""


def page(name: str, title: str, about: str, *parts: grafana.Row | timeseries.Panel | stat.Panel) -> grafana.Dashboard:
    """A dashboard: panels under rows, the choice of where to look, and links to the others."""
    made = (
        grafana.Dashboard(f"Camino / {title}")
        .uid(f"camino-{name}")
        .description(about)
        .tags([_TAG])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            grafana.DashboardLink("Camino")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            grafana.QueryVariable("namespace")
            .label("Namespace")
            .datasource(_SOURCE)
            .query("label_values(camino_serving, namespace)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    )
    for place, part in enumerate(parts, 1):
        part.id(place)
        made = made.with_row(part) if isinstance(part, grafana.Row) else made.with_panel(part)
    return made


def graph(
    title: str, unit: Unit, *queries: Query, about: str = "", stacked: bool = False, width: int = 8
) -> timeseries.Panel:
    """Lines over time, from zero; `stacked` where the sum means something. `about` says how to read it."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(7)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for target in _targets(queries):
        panel = panel.with_target(target)
    return panel


def number(
    title: str, unit: Unit, *queries: Query, about: str = "", bad_from: float | None = None, width: int = 3
) -> stat.Panel:
    """The last value; red from `bad_from` on."""
    steps = [Threshold(value=None, color="green")]
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .graph_mode(BigValueGraphMode.AREA)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )
    for target in _targets(queries):
        panel = panel.with_target(target)
    return panel


def rate(counter: str, by: str = "", where: str = "") -> str:
    """The expression for how often something is counted in a second, divided by a label or several."""
    return f"sum{f' by ({by})' if by else ''} (rate({counter}{_matching(where)}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str, where: str = "") -> str:
    """The expression for a quantile of a histogram, divided by a label or several."""
    return (
        f"histogram_quantile({share}, sum by ({by}, le) (rate({histogram}_bucket{_matching(where)}[$__rate_interval])))"
    )


def _matching(where: str) -> str:
    return f"{{HERE, {where}}}" if where else "{HERE}"


def _targets(queries: tuple[Query, ...]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .ref_id(chr(ord("A") + index))
        .expr(query.expr.replace("HERE", _NAMESPACE))
        .legend_format(query.legend)
        for index, query in enumerate(queries)
    ]
