"""What a profile agreed to."""

from __future__ import annotations

from services.segment.domain import ConsentTest, Facts
from services.segment.evaluate.answers import FALSE, TRUE, Answer, Compiled


def consent(condition: ConsentTest) -> Compiled:
    key = condition.key
    wanted = {"opted in": True, "opted out": False, "unknown": None}[condition.standing]

    def node(facts: Facts, now: int) -> Answer:
        return TRUE if facts.consents.get(key) is wanted else FALSE

    return node
