"""The channels service's collections.

`messages`      `<workspace>/<send_id>`               the ledger: what we owe, and what became of it.
`suppressions`  `<workspace>/<channel>/<endpoint>`    endpoints that must not be sent to,
                `<workspace>/erased/<hash>`           those of people who were erased,
                `<workspace>/profile/<profile_id>`    and the markers of those people: no more than their ids.
`salts`         `<workspace>`                         what endpoints are hashed with.
`templates`     `<workspace>/<template_id>`           the current version.
`versions`      `<workspace>/<template_id>/<number>`  each version that was current once.

A message that is not settled has `due_at`: the index over it is what drives messages whose worker died or that wait
for another try. One that may hold something personal has `profile`: the index over it is what erasing goes through. A
version is filed before the next one takes its place, so what is filed never changes.

A workspace is deleted in the order of `SCHEMAS`: templates first, so that no request that comes again is sent again
once its message is gone from the ledger. What keeps somebody from being sent to goes after the messages, and salts
last: without its salt a hash is of no use.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.documents import Collection, Database, Index, Owner, Schema

TEMPLATES = Schema("templates", owner=Owner.WORKSPACE)
VERSIONS = Schema("versions", owner=Owner.WORKSPACE)
MESSAGES = Schema(
    "messages",
    (
        Index("due", ("partition", "due_at")),
        Index("by_state", ("workspace", "state", "updated")),
        Index("unknown", ("unknown_since",)),
        Index("by_profile", ("workspace", "profile", "created")),
    ),
    owner=Owner.WORKSPACE,
)
SUPPRESSIONS = Schema("suppressions", owner=Owner.WORKSPACE)
SALTS = Schema("salts", owner=Owner.WORKSPACE)
SCHEMAS = (TEMPLATES, VERSIONS, MESSAGES, SUPPRESSIONS, SALTS)


@dataclass(frozen=True, slots=True)
class Store:
    templates: Collection
    versions: Collection
    messages: Collection
    suppressions: Collection
    salts: Collection

    @classmethod
    def of(cls, database: Database) -> Store:
        return cls(*(database.collection(schema) for schema in SCHEMAS))
