"""Telling the profile service about people, and looking at what became of them, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.clock import SECOND
from services.chassis.documents import Document
from services.chassis.testing import FakeClock
from services.profile import finding
from services.profile.domain.rules import Namespace, Rules
from services.profile.event_intake import EventIntake
from services.profile.joining import Joining
from services.profile.linking import Linking
from services.profile.profile_intake import ProfileIntake
from services.profile.store import Store
from services.profile.unlinking import Unlinking

RULES = Rules.of([Namespace("crm", 600, unique=True), Namespace("device", 100)])


@dataclass
class Replica:
    """What a replica of the profile service does, on some store."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)
    published: list[Document] = field(default_factory=list)

    def __post_init__(self) -> None:
        def rules(workspace_id: str) -> Rules:
            return RULES

        written = self.published.extend
        self.joining = Joining(self.store, self.clock, 4, written)
        linking = Linking(self.store, self.joining, self.clock, rules, 4)
        self.unlinking = Unlinking(self.store, self.joining, self.clock, rules, 4)
        self.profiles = ProfileIntake(self.store, self.clock, rules, self.joining, linking, 4, written)
        self.events = EventIntake(self.store, self.clock, rules, self.joining, linking, 4, written)

    async def tell(self, *identities: str, at: int = 0, **attributes: str) -> pb.ItemResult:
        """Say that these are one person, and so many seconds ago."""
        [result] = await self.profiles.profiles("w", [person(self.clock, *identities, at=at, **attributes)], {})
        return result

    async def event(self, event_id: str, identity: str) -> pb.ItemResult:
        [result] = await self.events.events("w", [event(event_id, identity)], {})
        return result

    async def sweep(self) -> None:
        """Do what the loops do of what others left behind, some time later."""
        self.clock.advance(10 * SECOND)
        for _ in range(2):
            now = self.clock.now()
            for partition in range(4):
                due = await self.store.joins.query("due", partition, below=now, limit=100)
                await self.joining.due(due.documents)
                locked = await self.store.profiles.query("due", partition, below=now, limit=100)
                await self.joining.settle(locked.documents)


def person(clock: FakeClock, *identities: str, at: int = 0, **attributes: str) -> pb.ProfileInput:
    item = pb.ProfileInput()
    item.observed_at.FromMicroseconds(clock.now() - at * 1_000_000)
    for identity in identities:
        namespace, _, value = identity.partition(":")
        item.identities.add(namespace=namespace, value=value)
    for name, value in attributes.items():
        item.attributes[name].value.string_value = value
    return item


def event(event_id: str, identity: str) -> pb.EventInput:
    item = pb.EventInput(event_id=event_id, type="visit")
    item.identity.namespace, _, item.identity.value = identity.partition(":")
    return item


async def everybody(store: Store) -> dict[frozenset[str], Mapping[str, Any]]:
    """The people that are there, by their identities. Checks that all that is stored is of one piece: each identity is
    of one profile, which is the one that is stored for it, and nothing is locked or under way."""
    profiles = (await store.profiles.query("by_workspace", "w", limit=1_000)).documents
    identities = (await store.identities.scan(limit=1_000, prefix="w/")).documents
    owned = {document.id.partition("/")[2]: document.body.get("profile_id", "") for document in identities}
    places = await finding.standing(store, "w", owned.values())
    people: dict[frozenset[str], Mapping[str, Any]] = {}
    for profile in profiles:
        names = frozenset(":".join(identity) for identity in profile.body["identities"])
        for name in names:
            assert places[owned[name]].profile_id == profile.id.partition("/")[2], name
        assert "join" not in profile.body
        people[names] = profile.body
    everyone = [name for names in people for name in names]
    assert len(everyone) == len(set(everyone))
    assert not [plan for plan in (await store.joins.scan(limit=100)).documents if "bodies" in plan.body]
    return people
