"""Telling one webhook: what to post next, posting it, and writing down what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import random

from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.clock import HOUR, Clock, Instant
from services.chassis.documents import Collection, Document, change
from services.chassis.errors import CursorExpired
from services.chassis.tail import Place, Stored, Tail
from services.segment.webhooks import convert, messages
from services.segment.webhooks.measuring import Measuring
from services.segment.webhooks.messages import Outgoing
from services.segment.webhooks.posting import Poster
from services.segment.webhooks.signing import headers
from services.segment.webhooks.webhook import Standing, Webhook

MOST_CHANGES = 100
"""In one message."""
PASS_EVERY = HOUR
"""How often it's written down that there was nothing to tell: more rarely than changes are kept."""

Step = Callable[[Webhook], Webhook | None]
"""What becomes of a webhook; None if it's not for this to say any more."""
Changes = Sequence[Stored[MembershipChanged]]


class Ended(Exception):
    """There is nothing to do for a webhook: it's paused, deleted, or somebody else's."""


@dataclass(frozen=True, slots=True)
class Means:
    """What couriers work with, all of them together."""

    webhooks: Collection
    tail: Tail[MembershipChanged]
    poster: Poster
    clock: Clock
    partitions: int
    slots: asyncio.Semaphore
    """So many post at a time."""
    slots_of_failing: asyncio.Semaphore
    """And so many, besides, to receivers that didn't take the last message: those that hang hold up only each other."""
    measuring: Measuring
    jitter: Callable[[], float] = random


class Courier:
    """Tells one webhook of changes, one message at a time, in their order. `may_post` says whether it's ours to
    tell."""

    def __init__(self, key: str, means: Means, may_post: Callable[[], bool]) -> None:
        self.key = key
        self.workspace_id = key.partition("/")[0]
        self.revision = 0
        """The webhook's, as far as this knows."""
        self._means = means
        self._may_post = may_post
        self._passed: tuple[Webhook, Place] | None = None
        """Up to here there was nothing to tell a webhook that said so, which isn't written down yet."""

    async def step(self) -> Instant | Place | None:
        """Do what there is to do next. The instant until which there is nothing more, or the place after which
        something may come; None to go on at once.

        Raises `Ended`, and `Unavailable` when the store or the broker is away.
        """
        document = (await self._means.webhooks.get([self.key])).get(self.key)
        if document is None:
            raise Ended
        self.revision = document.rev
        webhook = convert.webhook_of(document.body)
        if webhook.standing is Standing.PAUSED:
            raise Ended
        if webhook.failure and webhook.failure.retry_at > self._means.clock.now():
            return webhook.failure.retry_at
        try:
            if webhook.owes_notice:
                await self._give_notice(webhook)
            elif webhook.hand:
                await self._tell(webhook, webhook.hand)
            else:
                return await self._take(webhook)
        except CursorExpired:
            if await self._write(lambda it: it.lost_some(webhook, self._means.clock.now())):
                self._means.measuring.lost()
        return None

    async def _take(self, webhook: Webhook) -> Place | None:
        """Take what comes next in hand, and tell it. The place to wait at, if there is nothing."""
        start = webhook.place
        if self._passed and self._passed[0].is_alike(webhook):
            start = self._passed[1]
        read = await self._means.tail.read(self.workspace_id, start, MOST_CHANGES)
        # After a loss was told, what is read may be older than what that stands for.
        through = read.through._replace(read_at=max(start.read_at, read.through.read_at))
        if not any(webhook.wants(stored.message.segment_id) for stored in read.messages):
            self._passed = webhook, through
            if through.read_at - webhook.place.read_at > PASS_EVERY:
                await self._write(lambda it: it.passed(webhook, through))
            return None if read.messages else through
        # Before it's posted: after a crash it's known what was, and the same comes again.
        taken = await self._write(lambda it: it.taking(webhook, start, through))
        if taken:
            await self._tell(taken, through, read.messages)
        return None

    async def _tell(self, webhook: Webhook, hand: Place, changes: Changes | None = None) -> None:
        """Post what is in hand."""
        if changes is None:
            # Read again also after a failure: who was erased meanwhile isn't told of any more.
            changes = await self._between(webhook.place, hand)
        wanted = [stored for stored in changes if webhook.wants(stored.message.segment_id)]
        if not wanted:
            await self._write(lambda it: it.passed(webhook, hand))
        elif await self._post(
            webhook, messages.changed(self.key, webhook, hand, [stored.message for stored in wanted]), wanted
        ):
            now = self._means.clock.now()
            await self._write(lambda it: it.told(webhook, hand, now))

    async def _between(self, place: Place, hand: Place) -> Changes:
        """All that is kept between two places. One reading may give less of it than that before it: the broker's copies
        may be behind."""
        changes: list[Stored[MembershipChanged]] = []
        while place.sequence < hand.sequence:
            read = await self._means.tail.read(self.workspace_id, place, MOST_CHANGES)
            changes += (stored for stored in read.messages if stored.sequence <= hand.sequence)
            place = read.through
            if not read.messages and place.sequence < hand.sequence:
                raise CursorExpired("the stream ends before what was read of it")
        return changes

    async def _give_notice(self, webhook: Webhook) -> None:
        """Tell of a loss. Then go on at the first change that is kept: whatever was before now, the members that are
        read anew have."""
        assert webhook.lost is not None
        if await self._post(webhook, messages.lost(self.key, webhook, webhook.lost)):
            newest = await self._means.tail.newest()
            await self._write(lambda it: it.told(webhook, newest._replace(sequence=0), newest.read_at))

    async def _post(self, webhook: Webhook, message: Outgoing, changes: Changes = ()) -> bool:
        """Post a message, and write down if it wasn't taken. Whether it was. Raises `Ended` if it's not for us."""
        async with self._means.slots_of_failing if webhook.failure else self._means.slots:
            if not self._may_post():
                raise Ended
            began = self._means.clock.now()
            signed = headers(message.id, began, message.body, webhook.keys(began))
            outcome = await self._means.poster.post(webhook.definition.url, message.body, signed)
        now = self._means.clock.now()
        self._means.measuring.posted(outcome, now - began, [now - stored.stored_at for stored in changes])
        if not outcome.taken:
            await self._write(lambda it: it.refused(webhook, outcome, now, self._means.jitter))
        return outcome.taken

    async def _write(self, step: Step) -> Webhook | None:
        """Take a step, unless somebody else has been at it. The webhook as it is then, if so."""
        after: Webhook | None = None

        def decide(_key: str, document: Document | None) -> convert.Body | None:
            nonlocal after
            after = step(convert.webhook_of(document.body)) if document else None
            return convert.body_of(self.key, after, self._means.partitions) if after else None

        written = await change(self._means.webhooks, [self.key], decide)
        if after is not None:
            self.revision = written[self.key].rev
        return after
