"""What is stored of a profile that an input has made or changed."""

from __future__ import annotations

from services.chassis.ids import partition_of
from services.chassis.tracing import traceparent_of
from services.profile import convert
from services.profile.convert import Body
from services.profile.domain.profile import Profile
from services.profile.domain.rules import Rules
from services.profile.store import SWEEP_AFTER

OWING = ("publish_at", "traceparent")
"""The fields of what is still to be published."""


def stored(workspace_id: str, profile: Profile, rules: Rules, partitions: int, now: int, cause: object) -> Body:
    """The body of a profile whose change is to be published. `cause` is what came in, and knows its place in its
    trace."""
    return {
        **convert.profile_body(profile, rules),
        "workspace": workspace_id,
        "partition": partition_of(profile.profile_id, partitions),
        "publish_at": now + SWEEP_AFTER,
        **place(cause),
    }


def place(cause: object) -> dict[str, str]:
    """Where what came in is in its trace, for what is owed because of it; nothing if it isn't traced."""
    traceparent = traceparent_of(cause)
    return {"traceparent": traceparent} if traceparent else {}
