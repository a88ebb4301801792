"""What is stored where a profile was that turned out to be another one, or was erased.

A *grave* stays for ever, because its id does. At first it holds the events, for the survivor to absorb, and is due;
then the standings alone, none of them a member's. The mark of one who was *erased* stays for ever too, so that no late
fact brings them back. At first it's due, and holds what is to be taken away and told (see `erasing`); then nothing but
when that was.

Neither is evaluated, nor counted among the profiles: they have no edition.
"""

from __future__ import annotations

from typing import Any

from services.chassis.clock import Instant
from services.segment import convert
from services.segment.domain import Facts, History
from services.segment.rules import NO_RULES
from services.segment.standing import Transition
from services.segment.state import ProfileState
from services.segment.store import SETTLE_AFTER, SWEEP_AFTER

Body = dict[str, Any]


def joined_to(body: Body) -> str:
    """Which profile the one that was here is now; empty for any other body."""
    return str(body.get("joined_to", ""))


def grave(state: ProfileState, workspace_id: str, partition: int, now: Instant) -> Body:
    body: Body = {
        "workspace": workspace_id,
        "partition": partition,
        "joined_to": state.joined_to,
        "sequence": state.sequence,
        "memberships": convert.membership_rows(state),
        **convert.reason_fields(state),
    }
    if state.facts.events:
        body |= {"events": convert.event_rows(state), "wake_at": now + SWEEP_AFTER}
    if state.outbox:
        body["outbox"] = convert.transition_rows(state)
    return body


def left_by(body: Body) -> dict[str, History]:
    """The events that are in a grave still."""
    return convert.histories_of(body) if joined_to(body) and "events" in body else {}


def without_events(body: Body) -> Body | None:
    """A grave whose events the survivor has; None if they're gone already."""
    if not joined_to(body) or "events" not in body:
        return None
    return {name: value for name, value in body.items() if name not in ("events", "wake_at")}


def is_erased(body: Body) -> bool:
    return "erased" in body


def is_unsettled(body: Body) -> bool:
    """Whether something of an erased profile is still to be taken away and told."""
    return is_erased(body) and "wake_at" in body


def erased(state: ProfileState, workspace_id: str, partition: int, now: Instant) -> Body:
    """The mark of a profile that has just been erased."""
    mark: Body = {"erased": now}
    known = state.facts
    facts = len(known.attributes) + len(known.consents) + sum(len(held.at) for held in known.events.values())
    if not facts and not state.memberships and not state.sequence:
        return mark
    return {
        **mark,
        "workspace": workspace_id,
        "partition": partition,
        "wake_at": now + SWEEP_AFTER,
        "exits": convert.transition_rows(state),
        "segments": sorted(state.memberships),
        "counts": {
            "facts": facts,
            "memberships": sum(held.entered_at > 0 for held in state.memberships.values()),
            # Without the exits, which are told and not kept.
            "transitions": state.sequence - len(state.outbox),
        },
    }


def erased_grave(body: Body, now: Instant) -> Body:
    """The mark of a profile that had been merged before it was erased."""
    state = ProfileState(
        Facts({}, left_by(body)),
        sequence=body["sequence"],
        memberships=convert.memberships_of(body),
        outbox=convert.transitions_of(body),
    )
    # What it's still to leave, it knows the versions of.
    state.erase(NO_RULES, now)
    return erased(state, body["workspace"], body["partition"], now)


def exits_of(body: Body) -> list[Transition]:
    """The exits of an erased profile that are to be told."""
    return convert.transitions_of(body, "exits")


def settled(body: Body, now: Instant) -> Body | None:
    """The mark of an erased profile whose traces were taken away, and its exits told, between its erasure and now; None
    if there is nothing to change."""
    if not is_unsettled(body):
        return None
    again_at = body["erased"] + SETTLE_AFTER
    return {"erased": body["erased"]} if now >= again_at else {**body, "wake_at": again_at}
