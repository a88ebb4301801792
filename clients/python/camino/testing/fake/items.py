"""Batches whose items fail alone (`camino.options.v1.items_field`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from camino.testing.fake.refusal import Refusal, Violation, invalid
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message

_FAILED = 3


def answer_items(rpc: Rpc, answer: Callable[[Any], Any], request: Message, broken: Mapping[int, Violation]) -> Any:
    """Have the sound items answered, and put the results of the broken ones among theirs."""
    sound: Any = rpc.request()
    sound.CopyFrom(request)
    items = getattr(sound, rpc.items_field)
    size = len(items)
    for index in sorted(broken, reverse=True):
        del items[index]
    reply: Any = rpc.reply()
    reply.CopyFrom(answer(sound))
    results = iter(list(reply.results))
    reply.ClearField("results")
    for index in range(size):
        result = reply.results.add()
        if index in broken:
            fail(result, invalid([broken[index]]))
        else:
            result.CopyFrom(next(results))
    return reply


def fail(result: Any, refusal: Refusal) -> None:
    """Make this the result of an item that failed."""
    result.outcome = _FAILED
    result.error.reason = refusal.reason
    result.error.field, result.error.message = refusal.violations[0] if refusal.violations else ("", refusal.message)
