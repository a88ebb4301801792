"""The fake answers as the services do: the same calls of both, and the same replies but for their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from camino.testing.fake import FakeCamino

from services.chassis.clock import SECOND
from tests.house import house
from tests.integration.fake_people import PEOPLE
from tests.integration.fake_scenes import SCENES
from tests.integration.random_people import scenes
from tests.integration.transcript import Transcript

_ALL = {**SCENES, **scenes(40), **PEOPLE}


async def _transcripts(addresses: Mapping[str, str], pass_time: Callable[[], object]) -> dict[str, list[Any]]:
    return {
        name: await Transcript(addresses, name.replace(" ", "-"), pass_time).play(scene) for name, scene in _ALL.items()
    }


async def test_the_fake_answers_as_the_services_do(tmp_path: Path) -> None:
    async with house(tmp_path) as services:
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=services.clock.now())
        theirs = await _transcripts(services.addresses, lambda: services.clock.advance(SECOND))
    async with FakeCamino(now=lambda: now) as fake:
        ours = await _transcripts(dict.fromkeys(services.addresses, fake.target), lambda: None)
    differences = [
        f"{name}, call {number}:\n  services: {expected}\n  fake:     {answered}"
        for name in theirs
        for number, (expected, answered) in enumerate(zip(theirs[name], ours[name], strict=True))
        if expected != answered
    ]
    assert not differences, "\n".join(differences)
