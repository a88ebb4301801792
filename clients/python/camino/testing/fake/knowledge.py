"""What is known of a person, by all that was ever told: the newest holds, whatever the order in which it was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from camino.profile.v1 import profile_pb2, profile_service_pb2
from camino.testing.fake.people import Links, linked_since
from camino.testing.fake.rules import Identity, Rules
from camino.testing.fake.values import instant, value_of
from google.protobuf.message import Message

Topic = tuple[int, str]
Setting = tuple[int, int, str, str]
"""When it was observed, the priority of its source, the source, and what it says: the greatest holds."""

_UNSET: Setting = (0, 0, "", "")


@dataclass(frozen=True, slots=True)
class Told:
    """What one input said, every instant and source in it written out, and the identity that it was told of."""

    of: Identity
    said: profile_service_pb2.ProfileInput


@dataclass(frozen=True, slots=True)
class Knowledge:
    attributes: dict[str, profile_pb2.Attribute] = field(default_factory=dict)
    """By name, with those that were unset."""
    consents: dict[Topic, list[tuple[profile_pb2.Consent, Identity]]] = field(default_factory=dict)
    """What stands about each topic, and what it was told of."""
    time_zone: Setting = _UNSET
    locale: Setting = _UNSET

    def digest(self) -> object:
        """Equal to that of another if the same is known."""
        return (
            {name: _bytes(attribute) for name, attribute in self.attributes.items()},
            {topic: set(map(_age, standing)) for topic, standing in self.consents.items()},
            self.time_zone,
            self.locale,
        )


def knowledge(told: Sequence[Told], links: Links, rules: Rules) -> Knowledge:
    """What is known of a person whose identities have these links, whether they hold or not."""
    attributes: dict[str, profile_pb2.Attribute] = {}
    given: dict[Topic, list[tuple[profile_pb2.Consent, Identity]]] = {}
    zones, locales = [], []
    for one in told:
        for name, attribute in one.said.attributes.items():
            if name not in attributes or _order(attribute, rules) > _order(attributes[name], rules):
                attributes[name] = attribute
        for consent in one.said.consents:
            given.setdefault((consent.channel, consent.topic), []).append((consent, one.of))
        by = instant(one.said.observed_at), rules.source_priority(one.said.source), one.said.source
        zones += [(*by, one.said.time_zone)] if one.said.time_zone else []
        locales += [(*by, one.said.locale)] if one.said.locale else []
    standing = {topic: list(_standing(facts, links)) for topic, facts in given.items()}
    return Knowledge(attributes, standing, max(zones, default=_UNSET), max(locales, default=_UNSET))


def holding(standing: Iterable[tuple[profile_pb2.Consent, Identity]]) -> profile_pb2.Consent:
    """Which of what stands about a topic holds: the strictest, and of equal ones the newest."""
    consent, _ = max(standing, key=lambda it: (it[0].state, instant(it[0].changed_at), it[0].source, it[1]))
    return consent


def _standing(
    facts: Sequence[tuple[profile_pb2.Consent, Identity]], links: Links
) -> Iterable[tuple[profile_pb2.Consent, Identity]]:
    """What hasn't been replaced by something newer that was told of the same identity, or of one that was known to be
    the same person's by then."""

    def replaces(new: tuple[profile_pb2.Consent, Identity], old: tuple[profile_pb2.Consent, Identity]) -> bool:
        if _age(new) <= _age(old):
            return False
        since = linked_since(new[1], old[1], links)
        # One that was unlinked was the person's when it was told of.
        return new[1] == old[1] or since is None or since <= instant(new[0].changed_at)

    distinct = {_age(fact): fact for fact in facts}.values()
    return (old for old in distinct if not any(replaces(new, old) for new in distinct))


def _age(fact: tuple[profile_pb2.Consent, Identity]) -> tuple[int, int, str, Identity]:
    """All that there is to a consent but its proof: the greater is the newer, and of the same age the stricter."""
    consent, of = fact
    return instant(consent.changed_at), consent.state, consent.source, of


def _order(attribute: profile_pb2.Attribute, rules: Rules) -> tuple[int, int, str, str]:
    """Of two at the same instant and of sources that are believed alike, the greater by their texts holds."""
    value = value_of(attribute.value) if attribute.HasField("value") else None
    text = f"{type(value).__name__}:{value!r}"
    return instant(attribute.observed_at), rules.source_priority(attribute.source), attribute.source, text


def _bytes(message: Message) -> bytes:
    """As numbers, 0.0 and -0.0 are the same; as bytes they aren't."""
    return message.SerializeToString(deterministic=True)
