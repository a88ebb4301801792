"""A workspace's rules as they're published: what is wrong with them, in which form they're kept, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from camino.profile.v1 import profile_rules_pb2 as pb

from services.chassis.errors import InvalidDefinition, Violation
from services.profile.domain.rules import Namespace, Normaliser, Rules

_NORMALISERS = {
    Normaliser.EXACT: pb.NORMALISER_EXACT,
    Normaliser.EMAIL: pb.NORMALISER_EMAIL,
    Normaliser.PHONE: pb.NORMALISER_PHONE,
}
_MEANT = {number: normaliser for normaliser, number in _NORMALISERS.items()}
_SPELLED = {"email": pb.NORMALISER_EMAIL, "phone": pb.NORMALISER_PHONE}
"""The namespaces in which identities are the same in one spelling only."""
_TELLS_APART = "user_id"


def rules_of(definition: pb.ProfileRulesDefinition) -> Rules:
    """What a definition without violations means."""
    namespaces = (
        Namespace(wire.name, wire.priority, _MEANT[_normaliser(wire)], wire.unique) for wire in definition.namespaces
    )
    return Rules.of(namespaces, {wire.name: wire.priority for wire in definition.sources})


def checked(definition: pb.ProfileRulesDefinition) -> Rules:
    """What a definition means. Raises `InvalidDefinition` with everything that is wrong with it."""
    if found := list(_violations(definition)):
        raise InvalidDefinition(found)
    return rules_of(definition)


def definition_of(rules: Rules) -> pb.ProfileRulesDefinition:
    """The rules as they're kept and shown: all of them, in one order, so that those which mean the same are the
    same."""
    definition = pb.ProfileRulesDefinition()
    for namespace in sorted(rules.namespaces.values(), key=lambda one: (-one.priority, one.name)):
        definition.namespaces.add(
            name=namespace.name,
            priority=namespace.priority,
            normaliser=_NORMALISERS[namespace.normaliser],
            unique=namespace.unique,
        )
    for name, priority in sorted(rules.sources.items(), key=lambda source: (-source[1], source[0])):
        definition.sources.add(name=name, priority=priority)
    return definition


def etag_of(definition: pb.ProfileRulesDefinition) -> str:
    """The same for the same definition, as `definition_of` has it."""
    return sha256(definition.SerializeToString(deterministic=True)).hexdigest()[:32]


def _normaliser(wire: pb.Namespace) -> int:
    return wire.normaliser or _SPELLED.get(wire.name, pb.NORMALISER_EXACT)


def _violations(definition: pb.ProfileRulesDefinition) -> Iterator[Violation]:
    seen = set[str]()
    for index, wire in enumerate(definition.namespaces):
        field = f"definition.namespaces[{index}]"
        if wire.name in seen:
            yield Violation(f"{field}.name", f"{wire.name!r} is declared before; declare each namespace once")
        seen.add(wire.name)
        always = _SPELLED.get(wire.name)
        if always and _normaliser(wire) != always:
            name = pb.Normaliser.Name(always)
            yield Violation(f"{field}.normaliser", f"of {wire.name!r} is always {name}; leave it out")
        if wire.name == _TELLS_APART and not wire.unique:
            yield Violation(f"{field}.unique", f"{wire.name!r} tells people apart; set unique to true")
    seen = set()
    for index, source in enumerate(definition.sources):
        if source.name in seen:
            field = f"definition.sources[{index}].name"
            yield Violation(field, f"{source.name!r} is declared before; declare each source once")
        seen.add(source.name)
