"""What is known of one profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.segment.domain.values import Value


@dataclass(slots=True)
class History:
    """A profile's events of one type, in the order of (occurred_at, event_id): three columns of one table."""

    at: list[int]
    ids: list[str]
    properties: list[dict[str, Value]]


@dataclass(frozen=True, slots=True)
class Person:
    """What a state of a profile says, which is all but its events; see `Facts`."""

    attributes: dict[str, Value] = field(default_factory=dict)
    consents: dict[str, bool] = field(default_factory=dict)
    time_zone: str = ""


@dataclass(slots=True)
class Facts:
    """Attributes by name, events by type, consents (whether the person agreed) by `consent_key`, and an IANA zone,
    empty when it's unknown."""

    attributes: dict[str, Value]
    events: dict[str, History]
    consents: dict[str, bool] = field(default_factory=dict)
    time_zone: str = ""

    def in_context(self, attributes: Mapping[str, Value]) -> Facts:
        """The facts with attributes of the moment, such as the page that is looked at: they hide the profile's own."""
        return Facts({**self.attributes, **attributes}, self.events, self.consents, self.time_zone)
