"""Why a profile is in a segment, or isn't: the rule as it's found, beside what was recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from camino.segment.v1 import segment_pb2

from services.chassis.clock import SECOND
from services.chassis.wire import timestamp
from services.segment import convert
from services.segment.domain import Facts
from services.segment.evaluate import Explained, explain
from services.segment.rules import Published
from services.segment.standing import Membership

_VERDICTS = {
    True: segment_pb2.CONDITION_VERDICT_TRUE,
    False: segment_pb2.CONDITION_VERDICT_FALSE,
    None: segment_pb2.CONDITION_VERDICT_UNKNOWN,
}
_LATEST = 253_402_300_800 * SECOND
"""The year 10000, which no Timestamp can say."""


def explanation(
    published: Published,
    others: Mapping[str, Published],
    facts: Facts,
    at: int,
    profile_id: str,
    held: Membership | None,
) -> segment_pb2.MembershipExplanation:
    """`others` has the segments that this one asks; `held` is how the profile stands. A rule that can't be evaluated is
    explained by the name of its error."""
    definition = published.definition
    told = segment_pb2.MembershipExplanation(
        segment_version=published.version,
        evaluate_time=timestamp(at),
        missing=segment_pb2.MISSING_TRUE if definition.missing else segment_pb2.MISSING_FALSE,
    )
    if held and (held.entered_at or held.failure):
        told.membership.CopyFrom(convert.membership(profile_id, published.segment_id, held))
    try:
        asks = {segment_id: other.ask for segment_id, other in others.items()}
        conditions = {segment_id: other.definition.condition for segment_id, other in others.items()}
        found = explain(definition.condition, facts, at, asks, conditions)
    except Exception as error:
        told.evaluation_error = type(error).__name__
        return told
    told.condition.CopyFrom(_condition(found))
    told.member = definition.missing if found.value is None else found.value
    return told


def _condition(found: Explained) -> segment_pb2.ExplainedCondition:
    return segment_pb2.ExplainedCondition(
        condition=found.printed,
        looked_at=found.looked_at,
        verdict=_VERDICTS[found.value],
        until=None if found.until is None or found.until >= _LATEST else timestamp(found.until),
        conditions=map(_condition, found.children),
    )
