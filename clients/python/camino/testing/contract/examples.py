"""The examples that lie beside the protos: what a call looks like, and what must have happened before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from camino.testing.rpcs import rpcs


@dataclass(frozen=True, slots=True)
class Many:
    """How to have many items for a list: a call to repeat, with these fields made different each time."""

    call: str
    vary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Once:
    """What to wait for: a call whose reply says this, by the path of the field."""

    call: str
    gives: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    """A call's request as JSON has it, or a fact's circumstances; methods by their full names."""

    name: str
    request: Mapping[str, Any]
    after: tuple[str, ...] = ()
    """The calls that must have been made before, in this order, each after those it names itself."""
    needs: str = ""
    """What must be there and no call can bring about."""
    once: Once | None = None
    """What comes by itself after those calls, and must have come."""
    many: tuple[Many, ...] = ()
    order: str = ""
    """`id`, if a list is in the order of ids."""
    gives: Mapping[str, str] = field(default_factory=dict)
    """What the reply says then, by the path of the field."""
    change: Mapping[str, str] = field(default_factory=dict)
    """What to set to make another definition of it, by the path of the field."""
    completed: bool = False
    """Whether the resource in the reply has what the request says, and in its lists more."""


class NoExample(AssertionError):
    """A method or a published message without an example: write one in the `examples.yaml` of its package."""


def example(full_name: str) -> Example:
    """The example of a method or of a published message. Raises `NoExample`."""
    found = examples().get(full_name)
    if found is None:
        raise NoExample(f"{full_name} has no example in its package's examples.yaml")
    return found


@cache
def examples() -> Mapping[str, Example]:
    """All examples, by the full name of the method or of the published message."""
    found: dict[str, Example] = {}
    for package in sorted({rpc.service.rpartition(".")[0] for rpc in rpcs()}):
        text = (files(package) / "examples.yaml").read_text()
        for name, item in (yaml.safe_load(text) or {}).items():
            many, once = item.get("many", []), item.get("once")
            found[f"{package}.{name}"] = Example(
                name=f"{package}.{name}",
                request=item.get("request", {}),
                after=tuple(_full(package, call) for call in item.get("after", ())),
                needs=item.get("needs", ""),
                once=Once(_full(package, once["call"]), once["gives"]) if once else None,
                many=tuple(
                    Many(_full(package, each["call"]), tuple(each["vary"]))
                    for each in (many if isinstance(many, list) else [many])
                ),
                order=item.get("order", ""),
                gives=item.get("gives", {}),
                change=item.get("change", {}),
                completed=item.get("completed", False),
            )
    return found


def _full(package: str, call: str) -> str:
    return call if call.startswith("camino.") else f"{package}.{call}"
