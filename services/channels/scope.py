"""What a template sees: the profile, the event, the message, and the present."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from services.channels.filters import zone_of

ROOTS = frozenset(("profile", "event", "message", "now", "today"))

Read = Callable[[Any], Any]
"""From a value as it was sent to text, number, bool, list of text, or datetime in UTC."""


class Attributes(dict[str, Any]):
    """Named values that are converted when they're asked for: a person has many more than a template uses.

    A dotted name nests: `address.city` is seen as `address` with a `city`, unless there is an `address` itself. Times
    are in the person's zone.
    """

    __slots__ = ("_read", "_source", "_zone")

    def __init__(self, source: Mapping[str, Any], read: Read, zone: tzinfo, extra: Mapping[str, Any]) -> None:
        super().__init__(extra)
        self._source = source
        self._read = read
        self._zone = zone

    def __missing__(self, name: Any) -> Any:
        if not isinstance(name, str):
            raise KeyError(name)
        if name in self._source:
            value = self._read(self._source[name])
            if type(value) is datetime:
                value = value.astimezone(self._zone)
        else:
            prefix = f"{name}."
            below = {key[len(prefix) :]: held for key, held in self._source.items() if key.startswith(prefix)}
            if not below:
                raise KeyError(name)
            value = Attributes(below, self._read, self._zone, {})
        self[name] = value
        return value

    def _all(self) -> None:
        for name in self._source:
            self[name.partition(".")[0]]

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def __len__(self) -> int:
        self._all()
        return super().__len__()

    def __contains__(self, name: object) -> bool:
        self._all()
        return super().__contains__(name)

    def items(self) -> Any:
        self._all()
        return super().items()


class Scope:
    """The names that a template can use for one person, and how that person reads dates and numbers."""

    __slots__ = ("locale", "names", "zone")

    def __init__(
        self,
        *,
        profile: Mapping[str, Any],
        event: Mapping[str, Any],
        read: Read,
        profile_id: str,
        message_id: str,
        topic: str,
        now: int,
    ) -> None:
        zone = zone_of(str(read(profile["time_zone"]))) if "time_zone" in profile else None
        self.zone = zone or UTC
        self.locale = str(read(profile["locale"])) if "locale" in profile else ""
        present = datetime.fromtimestamp(now / 1_000_000, self.zone)
        self.names = {
            "profile": Attributes(profile, read, self.zone, {"id": profile_id}),
            "event": Attributes(event, read, self.zone, {}),
            "message": {"id": message_id, "topic": topic},
            "now": present,
            "today": present,
        }
