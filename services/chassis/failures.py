"""Errors as the log tells them: without personal data, whatever they say to those who may know."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType

from services.chassis.errors import CaminoError, Status

_OF_THE_WORLD = frozenset(
    (
        Status.UNAUTHENTICATED,
        Status.PERMISSION_DENIED,
        Status.UNAVAILABLE,
        Status.RESOURCE_EXHAUSTED,
        Status.DEADLINE_EXCEEDED,
    )
)
"""Errors of these kinds are about callers and machines. The words of any other may quote what came in."""

_KEY = re.compile(r'\[".*"\]', re.DOTALL)


def words_of(error: BaseException) -> str:
    """An error in words fit for the log: its own only when they can't hold what anybody sent, else its reason or
    type."""
    if isinstance(error, CaminoError):
        return str(error) if error.status in _OF_THE_WORLD else error.reason
    return type(error).__name__


def fields_of(error: CaminoError) -> list[str]:
    """The fields at fault, without the keys of maps, which callers make up."""
    return [_KEY.sub('["…"]', violation.field) for violation in error.violations]


def traced(error: BaseException) -> list[dict[str, object]]:
    """An error and what caused it, the last one first: where each was raised, and no value of any variable."""
    return [
        {"type": type(one).__name__, "error": words_of(one), "frames": _frames(one.__traceback__)}
        for one in _chain(error)
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup) and one.exceptions:
            one = one.exceptions[0]
        else:
            one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _frames(trace: TracebackType | None) -> list[str]:
    return [
        f"{'/'.join(PurePath(frame.filename).parts[-3:])}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
    ]
