"""What a service may do at the broker: what its footing needs, and nothing else.

Two users for each service: one for the process that serves, and one for `migrate`, which alone may make streams and
consumers. Each reads its replies below a prefix of its own, so that nobody reads another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.chassis.app import Footing
from services.chassis.broker import ConsumerSpec, inbox_prefix


@dataclass(frozen=True, slots=True)
class Permissions:
    """A NATS user and the subjects that it may publish to and subscribe to. What isn't listed is refused."""

    user: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def serving(footing: Footing) -> Permissions:
    """Publish to its own streams, take from its own consumers, and ask how far they are; read those of its streams that
    are tailed. Purging is for the deletion of workspaces."""
    return Permissions(
        footing.name,
        (
            "$JS.API.INFO",
            *(subject for stream in footing.streams for subject in stream.subjects()),
            *(f"$JS.API.STREAM.PURGE.{stream.name}" for stream in footing.streams),
            *(
                f"$JS.API.{what}.{stream.name}"
                for stream in footing.streams
                if stream.tailed
                for what in ("DIRECT.GET", "STREAM.MSG.GET", "STREAM.INFO")
            ),
            *_of_each_durable(footing.consumers, "$JS.API.CONSUMER.MSG.NEXT.{}.{}"),
            *_of_each_durable(footing.consumers, "$JS.API.CONSUMER.INFO.{}.{}"),
            *_of_each_durable(footing.consumers, "$JS.ACK.{}.{}.>"),
        ),
        (f"{inbox_prefix(footing.name)}.>", *(subject for stream in footing.streams for subject in stream.echoes())),
    )


def migrating(footing: Footing) -> Permissions:
    """Make and change its own streams, and its consumers on those of others."""
    return Permissions(
        footing.migration,
        (
            *(f"$JS.API.STREAM.{verb}.{stream.name}" for stream in footing.streams for verb in ("CREATE", "UPDATE")),
            *_of_each_durable(footing.consumers, "$JS.API.CONSUMER.DURABLE.CREATE.{}.{}"),
        ),
        (f"{inbox_prefix(footing.migration)}.>",),
    )


def _of_each_durable(consumers: Iterable[ConsumerSpec], subject: str) -> Iterator[str]:
    for consumer in consumers:
        for durable, _ in consumer.durables().values():
            yield subject.format(consumer.stream, durable)
