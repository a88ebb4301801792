"""The profile service's collections.

`identities`  `<workspace>/<namespace>:<value>`  whose it is: the authority on who is who.
`profiles`    `<workspace>/<profile_id>`         the person; or, with `joined_to` only, the grave of an owner of
identities that was joined to another before it had a profile.
`events`      `<workspace>/<event_id>`           the fact; that its id is taken is what makes a second one a duplicate,
for ever.

A profile or event that has not been published yet has `publish_at`: the index over it is the outbox.

A workspace is deleted in the order of `SCHEMAS`, the reverse of that in which they're written: what is left is what a
crash while writing would leave.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.clock import SECOND
from services.chassis.documents import Collection, Database, Index, Owner, Schema

_OUTBOX = Index("outbox", ("partition", "publish_at"))
EVENTS = Schema("events", (_OUTBOX, Index("by_profile", ("profile", "at"))), owner=Owner.WORKSPACE)
PROFILES = Schema("profiles", (_OUTBOX, Index("by_workspace", ("workspace",))), owner=Owner.WORKSPACE)
IDENTITIES = Schema("identities", owner=Owner.WORKSPACE)
SCHEMAS = (EVENTS, PROFILES, IDENTITIES)

SWEEP_AFTER = 10 * SECOND
"""How long the fast path has to publish something before the sweep does."""


@dataclass(frozen=True, slots=True)
class Store:
    events: Collection
    profiles: Collection
    identities: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
