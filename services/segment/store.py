"""The segment service's collections.

`facts`        `<workspace>/<profile_id>`            a profile's facts, its memberships, and what of them is not yet
               published: one document, because they change together. With `joined_to`, the grave of a profile that
               turned out to be another one; with `erased`, the mark of one who was erased: see `graves`. They're here,
               and not in a collection of their own, because whoever writes to a profile must not miss them: so a
               compare-and-set that comes late fails.
`memberships`  `<workspace>/<segment>/<profile_id>`  a projection of them, to list and count members by.
`transitions`  `<workspace>/<profile_id>/<when>`     each entry and exit that was told: see `history`.
`catalogues`   `<workspace>`                         which version of which segment serves.
`definitions`  `<workspace>/<segment>/<etag>`        what a version says. Filed before it serves; never changes.
`webhooks`     `<workspace>/<webhook>`               who outside is told of changes, and how far: see `webhooks`.

The indexes over `facts` are what drives the service: `wake` are the timers, and what is left to do of merges and
erasures, `outbox` is the outbox. `by_edition` are the profiles, first those not yet evaluated by the newest
definitions; `differing` are those that an upcoming version of a segment says otherwise of than the one that serves;
`failing` are those that some rule can't be evaluated for. Of `webhooks`, `active` are those that aren't paused, and
`failing` those that don't take what they're told, the oldest failure first.

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
        Index("by_edition", ("workspace", "partition", "edition")),
        Index("differing", ("differs", "differs_from")),
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
TRANSITIONS = Schema("transitions", owner=Owner.WORKSPACE)
WEBHOOKS = Schema(
    "webhooks",
    (Index("active", ("active_in",)), Index("failing", ("failing_in", "failing_since"))),
    owner=Owner.WORKSPACE,
)
SCHEMAS = (WEBHOOKS, CATALOGUES, DEFINITIONS, FACTS, MEMBERSHIPS, TRANSITIONS)

SWEEP_AFTER = 10 * SECOND
"""How long the fast path has to publish a transition, or to finish a merge or an erasure, before the sweep does."""

SETTLE_AFTER = 10 * MINUTE
"""After so long nobody has hold of what was read before a profile was erased."""


@dataclass(frozen=True, slots=True)
class Store:
    webhooks: Collection
    catalogues: Collection
    definitions: Collection
    facts: Collection
    memberships: Collection
    transitions: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
