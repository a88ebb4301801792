"""Event ids, by which Camino knows a fact that it has taken before: an id counts once in its workspace, for ever."""

from __future__ import annotations

import uuid

import uuid_utils

NAMESPACE = uuid.UUID("b1b0a8f0-3a1d-5c86-9b3e-6a3f7f0c2d54")
"""Of `derived_event_id`; for clients in other languages."""
_JOINT = "\x1f"


def derived_event_id(*facts: str) -> str:
    """The id that these business facts always have, whoever derives it and however often: the UUIDv5 (RFC 9562) in
    `NAMESPACE` over the texts joined by U+001F.

    Use it whenever the fact has a name of its own, such as an order's number: `derived_event_id("order", number,
    "paid")`. Then it counts once, also if the job that sends it is run again from the start. Raises ValueError for no
    facts, and for texts with U+001F in them.
    """
    if not facts or any(_JOINT in fact for fact in facts):
        raise ValueError("an event id is derived from one or more texts without the character U+001F")
    return str(uuid.uuid5(NAMESPACE, _JOINT.join(facts)))


def new_event_id() -> str:
    """An id that nothing has had: a UUIDv7 (RFC 9562), which sorts by the time it's made.

    Use it for what has no name of its own, such as a page view. Make it when the fact happens and keep it with the
    fact: an id made anew for each attempt would count each attempt.
    """
    return str(uuid_utils.uuid7())
