"""What protovalidate says of a message: the judge of all that is made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import protovalidate
from google.protobuf.message import Message

BOUNDS = frozenset({"gt", "gte", "lt", "lte", "gt_now", "lt_now"})
"""The options of which two together are one rule: its lower and its upper bound."""


class UnsupportedRule(Exception):
    """A rule of the schema from which nothing can be derived, neither valid values nor one that breaks it alone."""

    def __init__(self, field: str, rule: str, why: str) -> None:
        super().__init__(f"{field}: {rule}: {why}")
        self.field = field
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Break:
    """A rule that a message breaks, and where."""

    rule: str
    """The rule's id, e.g. `string.pattern`."""
    path: tuple[str, ...]
    """The fields that lead there, outermost first, e.g. `("steps[0]", "id")`; empty if it's the message as a whole."""
    option: str
    """What declares the rule: the option's name in `buf.validate`, e.g. `pattern`; of two bounds the lower one's."""
    of_key: bool
    """The rule is about the key of the map's entry at `path`, not its value."""


def breaks(message: Message) -> list[Break]:
    """All rules that the message breaks. One that can't be evaluated on it counts, without a path, as broken."""
    try:
        found = [violation.proto for violation in protovalidate.collect_violations(message)]
    except protovalidate.EvaluationError as error:
        return [Break(str(error), (), "", False)]
    return [
        Break(
            rule=each.rule_id,
            path=_path(each.field.elements if each.field else ()),
            option=each.rule.elements[-1].field_name if each.rule else "required",
            of_key=each.for_key,
        )
        for each in found
    ]


def dotted(path: Sequence[str]) -> str:
    """A path as the services write it in `google.rpc.BadRequest`, e.g. `properties["plan"].kind`."""
    return ".".join(path)


def _path(elements: Sequence[Any]) -> tuple[str, ...]:
    return tuple(f"{element.field_name}{_subscript(element.subscript)}" for element in elements)


def _subscript(subscript: Any) -> str:
    return "" if subscript is None else f"[{subscript.value!r}]".replace("'", '"')
