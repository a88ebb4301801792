"""Durations as people write them: `3d`, `12h`, `1h30m`, beside protobuf's `10800s`."""

from __future__ import annotations

import re

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60}
_FRIENDLY = re.compile(r"(?:[0-9]+[wdhm])+(?:[0-9]+s)?")
_PROTOBUF = re.compile(r"-?[0-9]+(?:\.[0-9]{1,9})?s")
_PART = re.compile(r"([0-9]+)([wdhms])")


def to_protobuf(text: str) -> str:
    """The duration in protobuf's JSON form, whole seconds followed by `s`. Raises ValueError for what is none."""
    text = text.strip()
    if _PROTOBUF.fullmatch(text):
        return text
    if not _FRIENDLY.fullmatch(text):
        raise ValueError(f"{text!r} is no duration")
    return f"{sum(int(number) * _SECONDS.get(unit, 1) for number, unit in _PART.findall(text))}s"
