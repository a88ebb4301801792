"""The segment service's collections.

`segments`     `<workspace>/<segment_id>`               the published definition, and how far its computation is
`facts`        `<workspace>/<profile_id>`               what is known of a profile, its memberships, and transitions not
relayed yet `memberships`  `<workspace>/<segment_id>/<profile_id>`  who is, and was, in what: written from the facts
when transitions are relayed
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.clock import SECOND
from services.chassis.documents import Collection, Database, Index, Schema

SCHEMAS = (
    Schema(
        "segments",
        (
            Index("by_workspace", ("workspace",)),
            Index("by_update", ("all", "updated")),
            Index("compute", ("partition", "compute_at")),
        ),
    ),
    Schema("facts", (Index("wake", ("partition", "wake_at")), Index("relay", ("partition", "relay_at")))),
    Schema("memberships", (Index("members", ("member_of", "profile")),)),
)

SWEEP_AFTER = 10 * SECOND
"""How long the fast path has to relay transitions before the sweep does."""


@dataclass(frozen=True, slots=True)
class Store:
    segments: Collection
    facts: Collection
    memberships: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
