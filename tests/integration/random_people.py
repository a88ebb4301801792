"""Scenes that nobody thought of: a few names that come together at random, with what is told of them."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.integration.fake_people import consent, event, linked, recorded, seen
from tests.integration.fake_scenes import Scene

_NAMES = [
    *(f"user_id:{name}" for name in "abc"),
    *(f"email:{name}@example.com" for name in "xy"),
    *(f"device_id:{number}" for number in (1, 2)),
    "push_token:t",
]
_DAYS = 12


def scenes(number: int) -> dict[str, Scene]:
    """So many of them, always the same."""
    return {f"random {seed}": _scene(Random(seed)) for seed in range(number)}


def _scene(random: Random) -> Scene:
    told = [_told(random, place) for place in range(random.randint(4, 14))]
    read: Scene = []
    for name in _NAMES:
        namespace, _, value = name.partition(":")
        by = {"identity": {"namespace": namespace, "value": value}}
        read += [("ProfileService.GetProfile", by), ("ProfileService.GetIdentityGraph", by)]
    return [*told, *read, ("ProfileService.ListProfiles", {})]


def _told(random: Random, place: int) -> tuple[str, dict[str, Any]]:
    day, names = random.randint(1, _DAYS), _names(random)
    state = random.choice(["OPTED_IN", "OPTED_OUT"])
    kind = random.choices(["link", "attribute", "consent", "consent alone", "event", "nothing"], [2, 3, 3, 2, 1, 6])[0]
    if kind == "link" and len(names) > 1:
        return linked(" ".join(names), day)
    if kind == "attribute":
        city = {"city": {"value": {"string_value": random.choice(["Lima", "Oslo", "Rome"])}}}
        zone, source = random.choice(["", "Europe/Madrid", "Europe/Rome"]), random.choice(["", "crm"])
        return seen(" ".join(names), day, attributes=city, time_zone=zone, source=source)
    if kind == "consent":
        return seen(" ".join(names), day, **consent(state, random.randint(1, _DAYS), proof=random.choice(["", "seen"])))
    namespace, _, value = names[0].partition(":")
    subject = {"identity": {"namespace": namespace, "value": value}}
    if kind == "consent alone":
        return recorded(subject, state, day)
    return event(f"e{place}", day, **subject) if kind == "event" else seen(" ".join(names), day)


def _names(random: Random) -> list[str]:
    """One to three, of which mostly no two are two people's."""
    names = random.sample(_NAMES, random.choice([1, 2, 2, 2, 3]))
    people = [name for name in names if name.startswith("user_id")]
    return names if random.random() < 0.1 else [name for name in names if name not in people[1:]]
