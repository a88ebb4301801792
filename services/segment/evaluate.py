"""The rule engine: one evaluator for streaming, batch and edge. Pure.

A condition is compiled once into a function of facts and an instant. Its verdict is true, false or unknown (Kleene's
three-valued logic), and with it comes the earliest instant at which the verdict can change by time alone: never late,
sometimes early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import fsum
from typing import Any, NamedTuple

from services.segment.domain import (
    All,
    Any_,
    Attribute,
    Between,
    Condition,
    Contains,
    Definition,
    Equals,
    Events,
    Exists,
    Facts,
    In,
    Not,
    NumberRange,
    StartsWith,
    TimeRange,
    Within,
)

NEVER = 1 << 62


class Verdict(NamedTuple):
    """Whether the condition holds (None: unknown), and until when that is certain if no fact changes."""

    value: bool | None
    until: int


Evaluator = Callable[[Facts, int], Verdict]

_TRUE = Verdict(True, NEVER)
_FALSE = Verdict(False, NEVER)
_UNKNOWN = Verdict(None, NEVER)


class Membership(NamedTuple):
    """Whether a profile is in a segment, and until when that is certain if no fact changes."""

    member: bool
    until: int


def compile_definition(definition: Definition) -> Callable[[Facts, int], Membership]:
    """The definition as a function of facts and an instant."""
    evaluate = compile_condition(definition.condition)
    missing = definition.missing

    def membership(facts: Facts, now: int) -> Membership:
        value, until = evaluate(facts, now)
        return Membership(missing if value is None else value, until)

    return membership


def compile_condition(condition: Condition) -> Evaluator:
    """The condition as a function of facts and an instant."""
    if isinstance(condition, All):
        return _combine([compile_condition(inner) for inner in condition.conditions], decisive=False)
    if isinstance(condition, Any_):
        return _combine([compile_condition(inner) for inner in condition.conditions], decisive=True)
    if isinstance(condition, Not):
        return _negate(compile_condition(condition.condition))
    if isinstance(condition, Attribute):
        return _attribute(condition)
    return _events(condition)


def _combine(evaluators: list[Evaluator], *, decisive: bool) -> Evaluator:
    """`all` is decided by one false, `any` by one true."""

    def combined(facts: Facts, now: int) -> Verdict:
        soonest, decided_until, unknown = NEVER, -1, False
        for evaluate in evaluators:
            value, until = evaluate(facts, now)
            if value is decisive:
                # Stays decided for as long as any one of the deciding conditions does.
                decided_until = max(decided_until, until)
            unknown = unknown or value is None
            soonest = min(soonest, until)
        if decided_until >= 0:
            return Verdict(decisive, decided_until)
        return Verdict(None if unknown else not decisive, soonest)

    return combined


def _negate(evaluate: Evaluator) -> Evaluator:
    def negated(facts: Facts, now: int) -> Verdict:
        value, until = evaluate(facts, now)
        return Verdict(None if value is None else not value, until)

    return negated


def _attribute(condition: Attribute) -> Evaluator:
    name, test = condition.name, _test(condition)
    if isinstance(condition.test, Exists):
        return lambda facts, now: _TRUE if test(facts.attributes) else _FALSE

    def evaluated(facts: Facts, now: int) -> Verdict:
        if name not in facts.attributes:
            return _UNKNOWN
        return _TRUE if test(facts.attributes) else _FALSE

    return evaluated


def _test(condition: Attribute) -> Callable[[Any], bool]:
    """A test of named values, two-valued: what is missing, or of another type, doesn't satisfy it."""
    name, test = condition.name, condition.test
    if isinstance(test, Exists):
        wanted = test.wanted
        return lambda values: (name in values) is wanted
    if isinstance(test, Equals):
        return _one_of(name, (test.value,))
    if isinstance(test, In):
        return _one_of(name, test.values)
    if isinstance(test, Contains):
        part = test.part
        return lambda values: isinstance(held := values.get(name), (str, list)) and part in held
    if isinstance(test, StartsWith):
        prefix = test.prefix
        return lambda values: isinstance(held := values.get(name), str) and held.startswith(prefix)
    kind = float if isinstance(test, NumberRange) else int
    holds: Callable[[Any], bool] = test.holds
    return lambda values: type(held := values.get(name)) is kind and holds(held)


def _one_of(name: str, options: Iterable[Any]) -> Callable[[Any], bool]:
    # A truth value and an instant are both ints to Python; values of different types are never equal.
    typed = [(type(option), option) for option in options]
    return lambda values: (
        (held := values.get(name)) is not None and any(type(held) is kind and held == option for kind, option in typed)
    )


def _events(condition: Events) -> Evaluator:
    event_type, holds, window = condition.event_type, condition.range.holds, condition.window
    tests = [_test(test) for test in condition.where]
    sum_of = condition.sum_of
    span: int | None = window.duration if isinstance(window, Within) else None
    between: TimeRange | None = window.range if isinstance(window, Between) else None

    def evaluated(facts: Facts, now: int) -> Verdict:
        inside: list[list[Any]] = []
        changes: list[tuple[int, int]] = []
        for event in facts.events.get(event_type, ()):
            at = event[0]
            if (between is not None and not between.holds(at)) or (span is not None and at + span <= now):
                continue
            if tests and not all(test(event[2]) for test in tests):
                continue
            if at > now:
                changes.append((at, 1))
            else:
                inside.append(event)
            if span is not None:
                changes.append((at + span, -1))
        if sum_of:
            amounts = (event[2].get(sum_of) for event in inside)
            # fsum is exact, so the order in which events came makes no difference.
            value = holds(fsum(amount for amount in amounts if type(amount) is float))
            return Verdict(value, min(changes)[0] if changes else NEVER)
        count = len(inside)
        value = holds(count)
        return Verdict(value, _flip(count, value, changes, holds) if changes else NEVER)

    return evaluated


def _flip(count: int, value: bool, changes: list[tuple[int, int]], holds: Callable[[float], bool]) -> int:
    """When a count that changes so comes to another verdict."""
    changes.sort()
    position = 0
    while position < len(changes):
        at = changes[position][0]
        while position < len(changes) and changes[position][0] == at:
            count += changes[position][1]
            position += 1
        if holds(count) is not value:
            return at
    return NEVER
