"""Expressions of Prometheus, looked into: which series they select, and which labels their results have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import promql_parser as promql
from promql_parser import AggModifierType, MatchOp

_GRAFANA = {"$__rate_interval": "5m", "$namespace": "camino"}
_PLAIN = re.compile(r"[A-Za-z0-9_-]*")

Labels = frozenset[str]


@dataclass(frozen=True, slots=True)
class Selector:
    """The series of one name, and what is asked of their labels: the values named (empty where none can be told), or
    the pattern."""

    name: str
    values: dict[str, tuple[str, ...]]
    patterns: dict[str, str]

    @property
    def labels(self) -> Labels:
        return frozenset((*self.values, *self.patterns))


def parse(text: str) -> promql.Expr:
    """An expression, with Grafana's variables filled in. Raises ValueError when it isn't one."""
    for variable, value in _GRAFANA.items():
        text = text.replace(variable, value)
    return promql.parse(text)


def selectors(text: str) -> list[Selector]:
    found: list[Selector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql.VectorSelector):
            found.append(_selector(node))

    promql.walk(parse(text), visit)
    return found


def _selector(node: promql.VectorSelector) -> Selector:
    values: dict[str, tuple[str, ...]] = {}
    patterns: dict[str, str] = {}
    for matcher in node.matchers.matchers:
        exact = matcher.op in (MatchOp.Equal, MatchOp.NotEqual)
        alternatives = (matcher.value,) if exact else tuple(matcher.value.split("|"))
        if exact or all(map(_PLAIN.fullmatch, alternatives)):
            values[matcher.name] = alternatives
        else:
            patterns[matcher.name] = matcher.value
    return Selector(str(node.name), values, patterns)


def labels_of(text: str, series: Mapping[str, Labels]) -> Labels:
    """The labels that all results of an expression have. `series` are the labels of what it may select."""
    return _labels(parse(text), series)


def _labels(node: promql.Expr, series: Mapping[str, Labels]) -> Labels:
    match node:
        case promql.VectorSelector():
            return series[str(node.name)]
        case promql.MatrixSelector():
            return series[str(node.vector_selector.name)]
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return _labels(node.expr, series)
        case promql.AggregateExpr():
            if str(node.op) == "topk":
                return _labels(node.expr, series)
            if node.modifier is None:
                return frozenset()
            assert node.modifier.type is AggModifierType.By, "tell the labels that are kept"
            return frozenset(node.modifier.labels) & _labels(node.expr, series)
        case promql.Call():
            if node.func.name == "absent":
                return frozenset(name for name, values in _selector(node.args[0]).values.items() if len(values) == 1)
            vectors = [arg for arg in node.args if not isinstance(arg, promql.NumberLiteral)]
            inner = frozenset[str]().union(*(_labels(arg, series) for arg in vectors))
            return inner - {"le"} if node.func.name == "histogram_quantile" else inner
        case promql.BinaryExpr():
            sides = [side for side in (node.lhs, node.rhs) if not _is_number(side)]
            both = [_labels(side, series) for side in sides]
            return frozenset.intersection(*both) if both and str(node.op) == "or" else (both or [frozenset()])[0]
    return frozenset()


def _is_number(node: promql.Expr) -> bool:
    match node:
        case promql.NumberLiteral():
            return True
        case promql.BinaryExpr():
            return _is_number(node.lhs) and _is_number(node.rhs)
        case promql.ParenExpr() | promql.UnaryExpr():
            return _is_number(node.expr)
    return False
