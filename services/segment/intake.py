"""Streaming: what happens to profiles, as it happens."""

from __future__ import annotations

from collections.abc import Mapping

from camino.profile.v1.profile_events_pb2 import ProfileChanged

from services.chassis.consumer import Dead, Retry
from services.chassis.tracing import traceparent_of
from services.segment import convert
from services.segment.merging import Merging
from services.segment.told import Told


class Intake:
    """Takes batches of ProfileChanged. Those of one profile become one write, but each is evaluated by itself, in
    order, so that a passing membership is a transition too."""

    def __init__(self, merging: Merging) -> None:
        self._merging = merging

    async def handle(self, messages: list[ProfileChanged]) -> Mapping[int, Retry | Dead]:
        told: dict[str, list[Told]] = {}
        places: dict[str, str] = {}
        for message in messages:
            profile = message.profile
            key = convert.key_of(profile.workspace_id, profile.profile_id)
            told.setdefault(key, []).append(Told.by(message))
            if place := traceparent_of(message):
                places[key] = place
        await self._merging.take(told, places)
        return {}
