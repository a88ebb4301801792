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
    order, so that a passing membership is a transition too.

    A message because of which some segment can't be evaluated becomes a dead letter, though it's known from then on and
    the other segments go by it: driven again, it has those segments evaluated once more."""

    def __init__(self, merging: Merging) -> None:
        self._merging = merging

    async def handle(self, messages: list[ProfileChanged]) -> Mapping[int, Retry | Dead]:
        told: dict[str, list[Told]] = {}
        places: dict[str, str] = {}
        numbers: dict[str, list[int]] = {}
        for number, message in enumerate(messages):
            profile = message.profile
            key = convert.key_of(profile.workspace_id, profile.profile_id)
            told.setdefault(key, []).append(Told.by(message))
            numbers.setdefault(key, []).append(number)
            if place := traceparent_of(message):
                places[key] = place
        failures = await self._merging.take(told, places)
        dead: dict[int, list[str]] = {}
        for key, failed in failures.items():
            for (segment_id, _), failure in failed.items():
                of_event = (number for number in numbers[key] if messages[number].event.event_id == failure.event_id)
                # What a profile's state brought about comes with an event as often as without: then it's the newest.
                number = next(of_event, numbers[key][-1])
                dead.setdefault(number, []).append(f"segment {segment_id}: {failure.error}")
        return {number: Dead("INTERNAL: not evaluated: " + "; ".join(whys)) for number, whys in dead.items()}
