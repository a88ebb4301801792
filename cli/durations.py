"""Durations as people write them: `3d`, `12h`, `1h30m`, beside protobuf's `10800s`."""

from __future__ import annotations

import re

from google.protobuf.duration_pb2 import Duration

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60}
_SHOWN = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_FRIENDLY = re.compile(r"(?:[0-9]+[wdhm])+(?:[0-9]+s)?")
_PROTOBUF = re.compile(r"-?[0-9]+(?:\.[0-9]{1,9})?s")
_PART = re.compile(r"([0-9]+)([wdhms])")


def shown(duration: Duration) -> str:
    """As people write it, such as `1d12h`; in protobuf's form where that doesn't do, for parts of a second."""
    if duration.nanos or duration.seconds <= 0:
        return str(duration.ToJsonString())
    text, left = "", duration.seconds
    for unit, size in _SHOWN:
        number, left = divmod(left, size)
        text += f"{number}{unit}" if number else ""
    return text


def to_protobuf(text: str) -> str:
    """The duration in protobuf's JSON form, whole seconds followed by `s`. Raises ValueError for what is none."""
    text = text.strip()
    if _PROTOBUF.fullmatch(text):
        return text
    if not _FRIENDLY.fullmatch(text):
        raise ValueError(f"{text!r} is no duration")
    return f"{sum(int(number) * _SECONDS.get(unit, 1) for number, unit in _PART.findall(text))}s"
