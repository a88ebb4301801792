"""The services' roles at MongoDB: each on the database of its name only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from services.chassis.app import Footing

_SERVES = ["find", "insert", "remove", "update"]
_MIGRATES = ["collMod", "createCollection", "createIndex"]


def roles(footings: Sequence[Footing]) -> list[dict[str, Any]]:
    """For each service a role to serve with, which reads and writes documents, and one to migrate with, which makes and
    changes collections and indexes. They are arguments of `createRole`."""
    return [
        {
            "createRole": f"camino-{name}",
            "privileges": [{"resource": {"db": footing.name, "collection": ""}, "actions": actions}],
            "roles": [],
        }
        for footing in footings
        for name, actions in ((footing.name, _SERVES), (footing.migration, _MIGRATES))
    ]


def document(footings: Sequence[Footing]) -> str:
    return json.dumps(roles(footings), indent=2) + "\n"
