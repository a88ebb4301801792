"""Streaming: what happens to profiles, as it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from camino.profile.v1.profile_events_pb2 import ProfileChanged

from services.chassis.clock import Instant
from services.chassis.consumer import Dead, Retry
from services.chassis.documents import Document
from services.chassis.tracing import traceparent_of
from services.segment import convert
from services.segment.profiles import Profiles
from services.segment.rules import Rules
from services.segment.state import ProfileState


class Intake:
    """Takes batches of ProfileChanged. Those of one profile become one write, but each is evaluated by itself, in
    order, so that a passing membership is a transition too."""

    def __init__(self, profiles: Profiles, relay: Callable[[Iterable[Document]], None]) -> None:
        self._profiles = profiles
        self._relay = relay

    async def handle(self, messages: list[ProfileChanged]) -> Mapping[int, Retry | Dead]:
        changes: dict[str, list[ProfileChanged]] = {}
        places: dict[str, str] = {}
        for message in messages:
            profile = message.profile
            key = convert.key_of(profile.workspace_id, profile.profile_id)
            changes.setdefault(key, []).append(message)
            if place := traceparent_of(message):
                places[key] = place

        def happen(key: str, state: ProfileState, rules: Rules, now: Instant) -> None:
            for message in changes[key]:
                if message.profile.revision > state.revision:
                    attributes = convert.attributes_of(message.profile)
                    state.observe_profile(message.profile.revision, attributes, rules, now)
                if message.HasField("event"):
                    state.observe_event(convert.event_of(message.event), rules, now)

        self._relay(await self._profiles.record(changes, happen, places=places))
        return {}
