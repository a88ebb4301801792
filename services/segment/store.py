"""The segment service's collections.

`facts`        `<workspace>/<profile_id>`            a profile's facts, its memberships, and what of them is not yet
               published: one document, because they change together. With `joined_to`, the grave of a profile that
               turned out to be another one; with `erased`, the mark of one who was erased: see `graves`. They're here,
               and not in a collection of their own, because whoever writes to a profile must not miss them: so a
               compare-and-set that comes late fails.
`memberships`  `<workspace>/<segment>/<profile_id>`  a projection of them, to list and count members by.
`catalogues`   `<workspace>`                         which version of which segment serves.
`definitions`  `<workspace>/<segment>/<etag>`        what a version says. Filed before it serves; never changes.

The indexes over `facts` are what drives the service: `wake` are the timers, and what is left to do of merges and
erasures, `outbox` is the outbox, `by_edition` are the profiles not yet evaluated by the newest definitions. `failing`
are those that some rule can't be evaluated for.

A workspace is deleted in the order of `SCHEMAS`: first what evaluates, then what it made.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.clock import MINUTE, SECOND
from services.chassis.documents import Collection, Database, Index, Owner, Schema

FACTS = Schema(
    "facts",
    (
        Index("wake", ("partition", "wake_at")),
        Index("outbox", ("partition", "outbox_at")),
        Index("by_edition", ("workspace", "edition")),
        Index("failing", ("failing", "workspace")),
    ),
    owner=Owner.WORKSPACE,
)
MEMBERSHIPS = Schema("memberships", (Index("members", ("member_of",)),), owner=Owner.WORKSPACE)
CATALOGUES = Schema(
    "catalogues",
    (Index("compute", ("partition", "compute_at")), Index("by_change", ("all", "changed_at"))),
    owner=Owner.WORKSPACE,
)
DEFINITIONS = Schema("definitions", owner=Owner.WORKSPACE)
SCHEMAS = (CATALOGUES, DEFINITIONS, FACTS, MEMBERSHIPS)

SWEEP_AFTER = 10 * SECOND
"""How long the fast path has to publish a transition, or to finish a merge or an erasure, before the sweep does."""

SETTLE_AFTER = 10 * MINUTE
"""After so long nobody has hold of what was read before a profile was erased."""


@dataclass(frozen=True, slots=True)
class Store:
    catalogues: Collection
    definitions: Collection
    facts: Collection
    memberships: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
