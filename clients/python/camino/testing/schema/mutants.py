"""Messages that break one rule of their schema each, and nothing else."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from camino.testing.schema.assembly import Forced, assemble_along
from camino.testing.schema.breakages import Breakage, breakages
from camino.testing.schema.judge import BOUNDS, Break, UnsupportedRule, breaks, dotted
from camino.testing.schema.samples import LEAST
from camino.testing.schema.shapes import height, is_recursive, is_validated, nested
from camino.testing.schema.strategies import LEVELS, Drawn, check, known
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["Mutant", "UnsupportedRule", "mutants"]

_LONG_KEY = re.compile(r'(\["[^"]{12})[^"]+("\])')


@dataclass(frozen=True, slots=True)
class Mutant:
    rule: str
    """protovalidate's id of the rule, e.g. `string.pattern`, or `required`, or that of an expression."""
    field: str
    """Where it's broken, as the services name it, e.g. `definition.steps[0].id`; empty if it's the whole message."""
    broken: SearchStrategy[Any]
    """Messages that break this rule here and nothing else."""
    option: str
    """What declares the rule, e.g. `pattern`; of an expression its id. Two bounds, such as `gte` and `lte`, are one
    rule but two mutants."""

    def __str__(self) -> str:
        is_one_of_two = self.option in BOUNDS and not self.rule.endswith(f".{self.option}")
        place = _LONG_KEY.sub(r"\1…\2", self.field)
        return f"{place}: {self.rule}{f' ({self.option})' if is_one_of_two else ''}".removeprefix(": ")


def mutants(kind: type[Message], *, fixed: Mapping[str, object] = MappingProxyType({})) -> list[Mutant]:
    """One for each rule of the type and of those inside it, in each place where these are; inside types that hold
    themselves, once on the shortest way there. In lists and maps the first item is broken.

    `fixed` is as for `messages`; a field that is broken doesn't keep its value. Raises `UnsupportedRule` for a rule
    that can't be broken alone, or that valid messages can't be derived from.
    """
    check(kind.DESCRIPTOR)
    forced = known(kind.DESCRIPTOR, fixed)
    return [
        _mutant(kind.DESCRIPTOR, forced, route, breakage)
        for route in _routes(kind.DESCRIPTOR)
        for breakage in breakages(_end(kind.DESCRIPTOR, route))
    ]


_Route = tuple[FieldDescriptor, ...]


def _routes(kind: Descriptor) -> Iterator[_Route]:
    """The ways to the messages inside one of this type, itself included, the shortest first."""
    pending, seen = deque[_Route]([()]), set[Descriptor]()
    while pending:
        route = pending.popleft()
        end = _end(kind, route)
        if end in seen:
            continue
        if is_recursive(end):
            seen.add(end)
        yield route
        pending += [(*route, field) for field in end.fields if nested(field) and is_validated(field)]


def _end(kind: Descriptor, route: _Route) -> Descriptor:
    return (nested(route[-1]) if route else None) or kind


def _mutant(kind: Descriptor, fixed: Forced, route: _Route, breakage: Breakage) -> Mutant:
    levels = max(LEVELS, height(kind))
    # What breaks a rule of the whole message says all of its fields: what is fixed isn't one that is broken.
    ways = breakage.ways if breakage.field or route else [{**way, **fixed} for way in breakage.ways]
    for witness in ways:
        broken = breaks(assemble_along(route, kind, levels, LEAST, fixed, witness))
        if len(broken) == 1 and breakage.is_told_by(broken[0]):
            [found] = broken
            broken_like_it = _along(route, kind, levels, fixed, ways).filter(partial(_breaks_only, found))
            return Mutant(found.rule, dotted(found.path), broken_like_it, breakage.option)
    place = ".".join((kind.full_name, *(field.name for field in route), breakage.field)).removesuffix(".")
    raise UnsupportedRule(place, breakage.option, "nothing was found that breaks it alone")


def _breaks_only(expected: Break, message: Message) -> bool:
    return [(each.rule, each.path) for each in breaks(message)] == [(expected.rule, expected.path)]


@st.composite
def _along(
    draw: DrawFn, route: _Route, kind: Descriptor, levels: int, fixed: Forced, ways: Sequence[Forced]
) -> Message:
    return assemble_along(route, kind, levels, Drawn(draw), fixed, draw(st.sampled_from(ways)))
