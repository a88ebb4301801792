"""The profile service's collections.

`rules`       `<workspace>`                        how the workspace tells people apart.
`identities`  `<workspace>/<namespace>:<value>`    whose it is: the authority on who is who. Nobody's, with no
              `profile_id`.
`profiles`    `<workspace>/<profile_id>`           the person; with `joined_to` only, the grave of one that turned out
              to be the same person as another; with `erased` only, that of one who was erased.
`joins`       `<workspace>/<join_id>`              a change of several profiles at once, while it's carried out.
`events`      `<workspace>/<event_id>`             the fact; that its id is taken is what makes a second one a
              duplicate, for ever.
`records`     `<workspace>/<profile_id>/<digest>`  what else there is to tell of a profile.
`operations`  `<workspace>/<operation_id>`         an erasure or an export: how far it is, with receipts.
`exports`     `<workspace>/<operation_id>/<part>`  what an export gathered.

A profile or event that has not been published yet has `publish_at`: the index over it is the outbox. Events and records
stay under the id of the profile that they were taken for, also when that one is merged: the one that stays knows the
ids.

A workspace is deleted in the order of `SCHEMAS`, the reverse of that in which they're written: what is left is what a
crash while writing would leave.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.clock import SECOND
from services.chassis.documents import Collection, Database, Index, Owner, Schema

_OUTBOX = Index("outbox", ("partition", "publish_at"))
_DUE = Index("due", ("partition", "due_at"))
_BY_PROFILE = Index("by_profile", ("profile", "at"))


def _of_workspaces(name: str, *indexes: Index) -> Schema:
    return Schema(name, indexes, owner=Owner.WORKSPACE)


SCHEMAS = (
    _of_workspaces("exports"),
    _of_workspaces(
        "operations",
        _DUE,
        Index("by_workspace", ("workspace", "created")),
        Index("by_profile", ("profile", "created")),
        Index("running", ("running", "created")),
    ),
    _of_workspaces("records", _BY_PROFILE),
    _of_workspaces("events", _OUTBOX, _BY_PROFILE),
    _of_workspaces("joins", _DUE),
    _of_workspaces("profiles", _OUTBOX, _DUE, Index("by_workspace", ("workspace",))),
    _of_workspaces("identities", Index("by_profile", ("profile_id",))),
    _of_workspaces("rules", Index("by_change", ("all", "changed"))),
)

SWEEP_AFTER = 10 * SECOND
"""How long the fast path has to publish something before the sweep does."""


@dataclass(frozen=True, slots=True)
class Store:
    exports: Collection
    operations: Collection
    records: Collection
    events: Collection
    joins: Collection
    profiles: Collection
    identities: Collection
    rules: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
