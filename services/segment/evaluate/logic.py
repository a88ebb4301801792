"""`all`, `any` and `not`, by Kleene's logic."""

from __future__ import annotations

from collections.abc import Sequence

from services.segment.domain import NEVER, Facts
from services.segment.evaluate.answers import FALSE, TRUE, Answer, Compiled


def junction(children: Sequence[Compiled], *, decisive: bool) -> Compiled:
    """`all` (a false child decides) or `any` (a true one does)."""
    nodes = tuple(children)
    decided: Answer = TRUE if decisive else FALSE

    def node(facts: Facts, now: int) -> Answer:
        result: bool | None = not decisive
        until = NEVER
        holds = 0
        for child in nodes:
            value, changes = child(facts, now)
            if value is decisive:
                if changes == NEVER:
                    return decided
                # The whole is decided as long as any one child decides it.
                if changes > holds:
                    holds = changes
            elif value is None:
                result = None
            if changes < until:
                until = changes
        return (decisive, holds) if holds else (result, until)

    return node


def negation(child: Compiled) -> Compiled:
    def node(facts: Facts, now: int) -> Answer:
        value, until = child(facts, now)
        return (None if value is None else not value), until

    return node
