"""YAML as it stands in a file: values that still know their line, and the types of YAML 1.2.

PyYAML's own types are those of YAML 1.1, where `22:00` is the number 1320 and `no` is false; here both are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

_NULL = re.compile(r"(?:~|null|Null|NULL)?")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")

Node = yaml.Node
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in a file, where, and how to mend it."""

    file: str
    line: int
    """From 1; 0 when it's the file as a whole."""
    path: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what}" + (f"; {self.fix}" if self.fix else "")


def documents(text: str) -> Iterator[Node]:
    """The documents of a file, without the empty ones. Raises `yaml.YAMLError` when it comes to what is no YAML."""
    for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
        if not (isinstance(node, yaml.ScalarNode) and node.value == ""):
            yield node


def line_of(node: Node) -> int:
    """Counted from 1."""
    return int(node.start_mark.line) + 1


def scalar(node: yaml.ScalarNode) -> Scalar:
    """The value of a scalar; what is quoted is text."""
    raw: str = node.value
    if node.style is not None:
        return raw
    if _NULL.fullmatch(raw):
        return None
    if _BOOL.fullmatch(raw):
        return raw.lower() == "true"
    if _INT.fullmatch(raw):
        return int(raw)
    if _FLOAT.fullmatch(raw):
        return float(raw)
    return raw


def is_null(node: Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and scalar(node) is None


def named(node: Node) -> str:
    """What kind of thing it is, in words for a person."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    value = scalar(node)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {node.value}"
    if isinstance(value, int | float):
        return f"the number {node.value}"
    return f"the text {node.value[:40]!r}"


def yaml_problem(file: str, error: yaml.YAMLError) -> Problem:
    """What the YAML parser stumbled over."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return Problem(
        file,
        mark.line + 1 if mark else 1,
        "",
        f"not YAML: {what}",
        "mend the syntax; text with `: `, `#`, `{` or `*` in it wants quotes",
    )
