"""The orchestrator's collections.

`journeys`         `<workspace>/<journey_id>`             the current version and the state
`journey_versions` `<workspace>/<journey_id>/<version>`   what was published, for good
`runs`             `<workspace>/<run_id>`                 one person's walk, with what it owes
`campaigns`        `<workspace>/<campaign_id>`            the definition and how far its occurrence is
`audiences`        `<workspace>/<occurrence_id>/<shard>`  who it's for: frozen
`shards`           `<workspace>/<occurrence_id>/<shard>`  how far those are, with what is owed
`decisions`        `<workspace>/<decision_id>/<instant>`  every verdict
`claims`           `<workspace>/<occurrence_id>/<id>`     as which recipient somebody with several ids gets it
`erased`           `<workspace>/<profile_id>`             that this profile was erased; no more than that

What a run or shard owes is in its `owed`: the messages decided and not yet known to have ended. `resend_at` is when
they're requested again.

A workspace is deleted in the order of `SCHEMAS`: first what begins something, then what has begun, then what that
refers to. So a run without its journey's version, or a shard without its campaign, is of a deleted workspace.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.clock import MINUTE, SECOND
from services.chassis.documents import Collection, Database, Index, Owner, Schema

_WAKE = Index("wake", ("partition", "wake_at"))
_OWED = Index("owed", ("partition", "resend_at"))


def _of_workspaces(name: str, *indexes: Index) -> Schema:
    return Schema(name, indexes, owner=Owner.WORKSPACE)


SCHEMAS = (
    _of_workspaces("journeys", Index("by_workspace", ("workspace",)), Index("by_update", ("all", "updated"))),
    _of_workspaces("campaigns", _WAKE, Index("by_workspace", ("workspace",))),
    _of_workspaces(
        "runs", _WAKE, _OWED, Index("by_journey", ("journey", "created")), Index("by_profile", ("profile", "created"))
    ),
    _of_workspaces("shards", _WAKE, _OWED, Index("by_occurrence", ("occurrence", "open"))),
    _of_workspaces("audiences"),
    _of_workspaces("journey_versions"),
    _of_workspaces("decisions", Index("by_profile", ("profile", "at"))),
    _of_workspaces("claims"),
    _of_workspaces("erased"),
)

FIRST_RESEND = 30 * SECOND
LAST_RESEND = 15 * MINUTE


def resend_after(attempt: int) -> int:
    """How long to wait for a message's end before it's requested again: 30 s, doubling up to 15 minutes."""
    return int(min(FIRST_RESEND * 2 ** min(attempt, 10), LAST_RESEND))


@dataclass(frozen=True, slots=True)
class Store:
    journeys: Collection
    campaigns: Collection
    runs: Collection
    shards: Collection
    audiences: Collection
    journey_versions: Collection
    decisions: Collection
    claims: Collection
    erased: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
