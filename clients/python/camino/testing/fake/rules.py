"""How a workspace tells people apart, to look things up in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from camino.profile.v1 import profile_rules_pb2
from camino.testing.fake.refusal import Violation

Identity = tuple[str, str]
"""(namespace, normal value)"""

_EXACT = profile_rules_pb2.NORMALISER_EXACT
_EMAIL = profile_rules_pb2.NORMALISER_EMAIL
_PHONE = profile_rules_pb2.NORMALISER_PHONE
_SPELLED = {"email": _EMAIL, "phone": _PHONE}
_UNDECLARED = 200


def _namespace(
    name: str, priority: int, normaliser: profile_rules_pb2.Normaliser = _EXACT, unique: bool = False
) -> profile_rules_pb2.Namespace:
    return profile_rules_pb2.Namespace(name=name, priority=priority, normaliser=normaliser, unique=unique)


_ALWAYS_THERE = (
    _namespace("user_id", 1000, unique=True),
    _namespace("email", 500, _EMAIL),
    _namespace("phone", 400, _PHONE),
    _namespace("push_token", 100),
    _namespace("webhook_url", 100),
)


class Rules:
    """A workspace's rules, to look things up in."""

    def __init__(self, definition: profile_rules_pb2.ProfileRulesDefinition) -> None:
        self.namespaces: Mapping[str, profile_rules_pb2.Namespace] = {one.name: one for one in definition.namespaces}
        self._sources = {source.name: source.priority for source in definition.sources}

    def namespace(self, name: str) -> profile_rules_pb2.Namespace:
        return self.namespaces.get(name) or _namespace(name, _UNDECLARED)

    def source_priority(self, name: str) -> int:
        return self._sources.get(name, 0)

    def rank(self, identity: Identity) -> tuple[int, Identity]:
        """Identities in order: those of higher priority first, then by their text."""
        return -self.namespace(identity[0]).priority, identity


def whole(declared: profile_rules_pb2.ProfileRulesDefinition) -> profile_rules_pb2.ProfileRulesDefinition:
    """What is declared, with the namespaces that are always there, in one order: so definitions that mean the same are
    the same."""
    namespaces = {one.name: one for one in _ALWAYS_THERE}
    for one in declared.namespaces:
        namespaces[one.name] = _namespace(one.name, one.priority, _normaliser(one), one.unique)
    definition = profile_rules_pb2.ProfileRulesDefinition()
    definition.namespaces.extend(sorted(namespaces.values(), key=lambda one: (-one.priority, one.name)))
    definition.sources.extend(sorted(declared.sources, key=lambda source: (-source.priority, source.name)))
    return definition


def violations(definition: profile_rules_pb2.ProfileRulesDefinition) -> Iterator[Violation]:
    names = [one.name for one in definition.namespaces]
    for index, one in enumerate(definition.namespaces):
        field = f"definition.namespaces[{index}]"
        if one.name in names[:index]:
            yield Violation(f"{field}.name", f"{one.name!r} is declared before; declare each namespace once")
        if _normaliser(one) != _SPELLED.get(one.name, _normaliser(one)):
            yield Violation(f"{field}.normaliser", f"of {one.name!r} there is only one; leave it out")
        if one.name == "user_id" and not one.unique:
            yield Violation(f"{field}.unique", f"{one.name!r} tells people apart; set unique to true")
    names = [source.name for source in definition.sources]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Violation(f"definition.sources[{index}].name", f"{name!r} is declared before; declare it once")


def _normaliser(namespace: profile_rules_pb2.Namespace) -> profile_rules_pb2.Normaliser:
    return namespace.normaliser or _SPELLED.get(namespace.name, _EXACT)
