"""What is told of a consumer's batches: how large they were, how long they took, and what became of their messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from services.chassis.measures import CONSUMER_BATCH, CONSUMER_DURATION, CONSUMER_HANDLED
from services.chassis.metrics import Metrics


class Watch:
    """The batches of one consumer."""

    def __init__(self, consumer: str, metrics: Metrics) -> None:
        self._consumer = consumer
        self._sizes = metrics.histogram(CONSUMER_BATCH).labels(consumer)
        self._durations = metrics.histogram(CONSUMER_DURATION).labels(consumer)
        self._outcomes = [
            metrics.counter(CONSUMER_HANDLED).labels(consumer, outcome) for outcome in ("handled", "retry", "dead")
        ]
        self._number = 0

    @contextmanager
    def batch(self, messages: int) -> Iterator[None]:
        """While a batch of so many messages is handled: lines in the log tell its number and its size."""
        self._number += 1
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(
            consumer=self._consumer, batch=self._number, batch_messages=messages
        ):
            yield
        self._sizes.observe(messages)
        self._durations.observe(time.perf_counter() - began)

    def ended(self, handled: int, retry: int, dead: int) -> None:
        """How many messages of a batch ended how."""
        for counter, number in zip(self._outcomes, (handled, retry, dead), strict=True):
            counter.inc(number)
