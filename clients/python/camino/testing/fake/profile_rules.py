"""`camino.profile.v1.ProfileRulesService`."""

from __future__ import annotations

from hashlib import sha256

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_rules_pb2
from camino.profile.v1 import profile_rules_service_pb2 as pb
from camino.testing.fake.refusal import Refusal, etag_mismatch, invalid
from camino.testing.fake.rules import Rules, violations, whole
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World


def rules_of(world: World, workspace_id: str) -> Rules:
    return Rules(_current(world, workspace_id).definition)


class ProfileRules:
    def __init__(self, world: World) -> None:
        self._world = world

    def PublishProfileRules(self, request: pb.PublishProfileRulesRequest) -> pb.PublishProfileRulesResponse:
        workspace_id = request.workspace_id
        if found := list(violations(request.definition)):
            raise invalid(found, reason_pb2.REASON_INVALID_DEFINITION)
        before = _current(self._world, workspace_id)
        after = _rules(workspace_id, request.definition)
        if after.etag != before.etag:
            if request.etag and request.etag != before.etag:
                raise etag_mismatch(before.etag)
            self._check_unused(workspace_id, Rules(before.definition), Rules(after.definition))
            now = timestamp(self._world.now())
            after.create_time.CopyFrom(before.create_time if before.HasField("create_time") else now)
            after.update_time.CopyFrom(now)
            self._world.put(workspace_id, workspace_id, after)
        return pb.PublishProfileRulesResponse(profile_rules=_current(self._world, workspace_id))

    def GetProfileRules(self, request: pb.GetProfileRulesRequest) -> pb.GetProfileRulesResponse:
        return pb.GetProfileRulesResponse(profile_rules=_current(self._world, request.workspace_id))

    def _check_unused(self, workspace_id: str, before: Rules, after: Rules) -> None:
        known = {namespace for namespace, _ in self._world.ledger(workspace_id).identities}
        declared = before.namespaces.keys() | after.namespaces.keys()
        used = sorted(name for name in declared & known if before.namespace(name) != after.namespace(name))
        if used:
            names = ", ".join(used)
            message = f"somebody has an identity in {names}, so what is said of it can't change"
            raise Refusal(reason_pb2.REASON_NAMESPACE_IN_USE, message, namespaces=names)


def _current(world: World, workspace_id: str) -> profile_rules_pb2.ProfileRules:
    published = world.get(profile_rules_pb2.ProfileRules, workspace_id, workspace_id)
    return published or _rules(workspace_id, profile_rules_pb2.ProfileRulesDefinition())


def _rules(workspace_id: str, declared: profile_rules_pb2.ProfileRulesDefinition) -> profile_rules_pb2.ProfileRules:
    definition = whole(declared)
    etag = sha256(definition.SerializeToString(deterministic=True)).hexdigest()[:16]
    return profile_rules_pb2.ProfileRules(workspace_id=workspace_id, definition=definition, etag=etag)
