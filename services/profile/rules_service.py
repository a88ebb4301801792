"""`camino.profile.v1.ProfileRulesService`."""

from __future__ import annotations

from typing import Any

from camino.profile.v1 import profile_rules_pb2, profile_rules_service_pb2, profile_rules_service_pb2_grpc

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import EtagMismatch, FailedPrecondition
from services.chassis.server import Mounted
from services.chassis.wire import set_instant
from services.profile.domain.rules import Rules
from services.profile.rules import Registry
from services.profile.rules_definition import checked, definition_of, etag_of, rules_of
from services.profile.store import Store


class ProfileRulesServicer(profile_rules_service_pb2_grpc.ProfileRulesServiceServicer):  # type: ignore[misc]
    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    async def PublishProfileRules(
        self, request: Any, context: object
    ) -> profile_rules_service_pb2.PublishProfileRulesResponse:
        workspace_id = request.workspace_id
        rules = checked(request.definition)
        definition = definition_of(rules)
        found = await self._find(workspace_id)
        before = _definition(found)
        current = etag_of(before)
        if etag_of(definition) != current:
            if request.etag and request.etag != current:
                raise EtagMismatch(current)
            await self._check_unused(workspace_id, _changed(rules_of(before), rules))
            now = self._clock.now()
            body = {
                "all": 1,
                "definition": definition.SerializeToString(deterministic=True),
                "created": found.body["created"] if found else now,
                "updated": now,
                # Of two versions the later one has the later instant, by whatever clock.
                "changed": max(now, found.body["changed"] + 1) if found else now,
            }
            document = Document(workspace_id, body, found.rev if found else 0)
            if not (await self._store.rules.put([document])).saved:
                return await self.PublishProfileRules(request, context)
            self._registry.adopt(document)
            found = document
        return profile_rules_service_pb2.PublishProfileRulesResponse(profile_rules=_wire(workspace_id, found))

    async def GetProfileRules(self, request: Any, context: object) -> profile_rules_service_pb2.GetProfileRulesResponse:
        found = await self._find(request.workspace_id)
        return profile_rules_service_pb2.GetProfileRulesResponse(profile_rules=_wire(request.workspace_id, found))

    async def _find(self, workspace_id: str) -> Document | None:
        return (await self._store.rules.get([workspace_id])).get(workspace_id)

    async def _check_unused(self, workspace_id: str, namespaces: set[str]) -> None:
        """Raise `FailedPrecondition` (NAMESPACE_IN_USE) if there is an identity in one of these."""
        used = [
            name
            for name in sorted(namespaces)
            if (await self._store.identities.scan(limit=1, prefix=f"{workspace_id}/{name}:")).documents
        ]
        if used:
            names = ", ".join(used)
            message = f"somebody has an identity in {names}, so what is said of it can't change"
            raise FailedPrecondition(message, reason="NAMESPACE_IN_USE", namespaces=names)


def _changed(before: Rules, after: Rules) -> set[str]:
    """The namespaces of which something else is said."""
    declared = before.namespaces.keys() | after.namespaces.keys()
    return {name for name in declared if before.namespace(name) != after.namespace(name)}


def _definition(found: Document | None) -> profile_rules_pb2.ProfileRulesDefinition:
    if found is None:
        return definition_of(Rules.default())
    return profile_rules_pb2.ProfileRulesDefinition.FromString(found.body["definition"])


def _wire(workspace_id: str, found: Document | None) -> profile_rules_pb2.ProfileRules:
    definition = _definition(found)
    wire = profile_rules_pb2.ProfileRules(workspace_id=workspace_id, definition=definition, etag=etag_of(definition))
    if found:
        set_instant(wire.create_time, found.body["created"])
        set_instant(wire.update_time, found.body["updated"])
    return wire


def mounted(servicer: ProfileRulesServicer) -> Mounted:
    return Mounted(
        profile_rules_service_pb2_grpc.add_ProfileRulesServiceServicer_to_server,
        servicer,
        "camino.profile.v1.ProfileRulesService",
    )
