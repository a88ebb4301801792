"""What could not be handled, kept with its reason, listed, and re-driven by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import structlog
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from services.chassis.clock import Clock
from services.chassis.documents import Collection, Document, Index, Owner, Page, Schema, change
from services.chassis.errors import NotFound
from services.chassis.events import key_of, type_of, workspace_of
from services.chassis.measures import DEAD_LETTERS_ADDED, DEAD_LETTERS_KEPT
from services.chassis.metrics import Metrics

log = structlog.get_logger()

DEAD_LETTERS = Schema("dead_letters", (Index("by_time", ("all", "at")),), owner=Owner.WORKSPACE)

_PAGE = 200
"""Letters that are looked through at once: each holds a whole message."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An input, who could not handle it, and why."""

    consumer: str
    subject: str
    data: bytes
    reason: str

    @property
    def id(self) -> str:
        """`<workspace>/<digest>`: the same for the same input and consumer."""
        digest = sha256(f"{self.consumer}\n{self.subject}\n".encode() + self.data).hexdigest()[:32]
        return f"{workspace_of(self.subject)}/{digest}"


class DeadLetters:
    """One service's dead letters. The same input dead twice is one letter."""

    def __init__(self, collection: Collection, clock: Clock, metrics: Metrics | None = None) -> None:
        metrics = metrics or Metrics()
        self._added = metrics.counter(DEAD_LETTERS_ADDED)
        metrics.read(DEAD_LETTERS_KEPT, self._kept)
        self._collection = collection
        self._clock = clock
        self._handlers: dict[str, Callable[[bytes], Awaitable[str]]] = {}

    def handled_by(self, consumer: str, handle: Callable[[bytes], Awaitable[str]]) -> None:
        """Say who takes a consumer's letters when they're re-driven: it returns why not, or an empty string."""
        self._handlers[consumer] = handle

    async def add(self, letters: Iterable[Letter]) -> None:
        """Keep letters. Returns when they are durable, so that the input can be acknowledged."""
        now = self._clock.now()
        by_id = {letter.id: letter for letter in letters}

        def decide(id_: str, old: Document | None) -> dict[str, Any]:
            letter = by_id[id_]
            body = old.body if old else {"all": 1, "at": now, "redrives": 0}
            return {
                **body,
                "consumer": letter.consumer,
                "subject": letter.subject,
                "data": letter.data,
                "reason": letter.reason,
            }

        await change(self._collection, by_id, decide)
        for id_, letter in by_id.items():
            self._added.labels(letter.consumer).inc()
            # Of the reason only its name: its words, which are kept with the letter, may quote the input.
            log.error("dead letter", dead_letter=id_, letter_of=letter.consumer, reason=letter.reason.partition(":")[0])

    async def list(self, limit: int, after: str) -> tuple[Page, int]:
        """A page of them, oldest first, and how many there are in all."""
        return await self._collection.query("by_time", 1, limit=limit, after=after), await self._collection.count(
            "by_time", 1
        )

    async def _kept(self) -> Mapping[tuple[str, ...], float]:
        return {(): await self._collection.count("by_time", 1)}

    async def erase(self, workspace_id: str, profile_ids: Iterable[str]) -> int:
        """Delete the letters about a person, who has these ids. How many there were. Idempotent."""
        ids = frozenset(profile_ids)
        erased, after = 0, ""
        while True:
            page = await self._collection.scan(limit=_PAGE, after=after, prefix=f"{workspace_id}/")
            theirs = [letter.id for letter in page.documents if _is_about(letter.body, ids)]
            erased += await self._collection.delete(theirs) if theirs else 0
            after = page.next
            if not after:
                return erased

    async def redrive(self, id_: str) -> str:
        """Give a letter to its handler again. The reason why it was not taken, or an empty string. Raises
        `NotFound`."""
        letter = (await self._collection.get([id_])).get(id_)
        if letter is None:
            raise NotFound.of("dead letter", id_)
        handle = self._handlers.get(letter.body["consumer"])
        reason = await handle(letter.body["data"]) if handle else f"nothing here handles {letter.body['consumer']!r}"
        if not reason:
            await self._collection.delete([id_])
            return ""

        def decide(_id: str, old: Document | None) -> dict[str, Any] | None:
            return {**old.body, "reason": reason, "redrives": old.body["redrives"] + 1} if old else None

        await change(self._collection, [id_], decide)
        return reason


def _is_about(letter: Mapping[str, Any], profile_ids: frozenset[str]) -> bool:
    """Whether a letter's message is about one of these profiles: its key says so, or its `profile_id`, or that of its
    `profile`."""
    if key_of(letter["subject"]) in profile_ids:
        return True
    data: bytes = letter["data"]
    try:
        message = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(type_of(letter["subject"])))()
        message.ParseFromString(data)
    except (KeyError, DecodeError):
        # Nobody can read it. If an id of theirs is in there, it's about them.
        return any(id_.encode() in data for id_ in profile_ids)
    return not profile_ids.isdisjoint(_named(message))


def _named(message: Message) -> Iterator[str]:
    """The profiles that a message names."""
    fields = message.DESCRIPTOR.fields_by_name
    if "profile_id" in fields:
        yield message.profile_id
    profile = fields.get("profile")
    if profile is not None and profile.message_type is not None and "profile_id" in profile.message_type.fields_by_name:
        yield message.profile.profile_id
