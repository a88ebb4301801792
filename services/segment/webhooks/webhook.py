"""What becomes of a webhook. Pure.

One document holds all of it: what it says, its secrets, how far it has been told, and what is in hand. A message is
written down before it's posted, as the place that it leads to: so whoever comes after a crash makes the same message
again, with the same id. Every step here says for which state it's meant, and is passed over in any other: then somebody
else has been at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from services.chassis.clock import HOUR, MINUTE, SECOND, Instant
from services.chassis.errors import FailedPrecondition
from services.chassis.tail import Place
from services.segment.webhooks.posting import Outcome

OLD_SECRETS_SIGN_FOR = 24 * HOUR
MOST_SECRETS = 10

_FIRST_PAUSE = 5 * SECOND
_LONGEST_PAUSE = 10 * MINUTE
_LONGEST_WISH = HOUR
"""How long a receiver may ask us to wait."""


@dataclass(frozen=True, slots=True)
class Definition:
    url: str
    segment_ids: tuple[str, ...] = ()
    """Empty: all."""
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    key: str = field(repr=False)
    until: Instant = 0
    """When it signs no more; 0 for the newest."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it doesn't take what is in hand."""

    began_at: Instant
    attempts: int
    error: str
    retry_at: Instant = 0
    """0 when it's not posted again by itself."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Changes that weren't kept until it took them."""

    after: Instant
    noticed_at: Instant


class Standing(Enum):
    ACTIVE = "active"
    FAILING = "failing"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Webhook:
    definition: Definition
    secrets: tuple[Secret, ...]
    """The newest first."""
    created_at: Instant
    updated_at: Instant
    place: Place
    """Up to here it has been told."""
    hand: Place | None = None
    """What is being told: what lies between `place` and this. None: nothing is yet."""
    gone: bool = False
    """It answered that it wants no more."""
    told_at: Instant = 0
    """When it last took a message; 0 for never."""
    failure: Failure | None = None
    losses: int = 0
    lost: Loss | None = None
    """The last loss."""
    owes_notice: bool = False
    """Whether it's still to be told of that, before anything else."""

    @classmethod
    def new(cls, definition: Definition, secret: str, place: Place, now: Instant) -> Webhook:
        return cls(definition, (Secret(secret),), now, now, place)

    @property
    def standing(self) -> Standing:
        if self.definition.paused or self.gone:
            return Standing.PAUSED
        return Standing.FAILING if self.failure else Standing.ACTIVE

    def keys(self, now: Instant) -> list[str]:
        """The secrets that sign now."""
        return [secret.key for secret in self.secrets if not secret.until or secret.until > now]

    def wants(self, segment_id: str) -> bool:
        return not self.definition.segment_ids or segment_id in self.definition.segment_ids

    # --- what callers do ----------------------------------------------------------------------------------------------

    def put(self, definition: Definition, now: Instant) -> Webhook:
        """As it becomes by a definition; itself when that changes nothing. Puts an end to waiting, if there is any:
        whatever it fails for may be mended."""
        if definition == self.definition and not (self.gone and not definition.paused):
            return self
        hand, failure = self.hand, self.failure
        if hand and definition.segment_ids != self.definition.segment_ids:
            # It's of other segments.
            hand = failure = None
        if failure:
            failure = replace(failure, retry_at=0 if definition.paused else now)
        updated_at = now if definition != self.definition else self.updated_at
        return replace(self, definition=definition, updated_at=updated_at, hand=hand, gone=False, failure=failure)

    def rotated(self, secret: str, now: Instant) -> Webhook:
        """With a new secret; those from before sign for a while. Raises `FailedPrecondition` when there are too
        many."""
        before = [
            replace(old, until=old.until or now + OLD_SECRETS_SIGN_FOR)
            for old in self.secrets
            if not old.until or old.until > now
        ]
        if len(before) >= MOST_SECRETS:
            raise FailedPrecondition(f"{len(before)} secrets sign for this webhook already; each does for 24 hours")
        return replace(self, secrets=(Secret(secret), *before))

    # --- what becomes of messages -------------------------------------------------------------------------------------

    def is_alike(self, of: Webhook) -> bool:
        """Whether the same is to be told next as then: who reads on behalf of one that has changed meanwhile may have
        passed over what it wants now."""
        return (self._message, self.definition.segment_ids) == (of._message, of.definition.segment_ids)

    def taking(self, of: Webhook, start: Place, hand: Place) -> Webhook | None:
        """With what lies between two places in hand, when there was nothing to tell up to the first of them as of
        then."""
        if self.standing is Standing.PAUSED or self.hand or not self.is_alike(of):
            return None
        return replace(self, place=start, hand=hand)

    def passed(self, of: Webhook, to: Place) -> Webhook | None:
        """When there was nothing to tell up to a place as of then."""
        if not self.is_alike(of):
            return None
        return replace(self, place=to, hand=None, failure=None)

    def told(self, of: Webhook, to: Place, now: Instant) -> Webhook | None:
        """When it took what was to be told as of then, which leads to a place."""
        if self._message != of._message:
            return None
        return replace(self, place=to, hand=None, owes_notice=False, failure=None, told_at=now)

    def refused(self, of: Webhook, outcome: Outcome, now: Instant, jitter: Callable[[], float]) -> Webhook | None:
        """When it didn't take what was to be told as of then. `jitter` is drawn from [0, 1)."""
        if self._message != of._message:
            return None
        attempts = self.failure.attempts + 1 if self.failure else 1
        began_at = self.failure.began_at if self.failure else now
        retry_at = 0 if outcome.gone or self.definition.paused else _retry_at(attempts, outcome.retry_at, now, jitter())
        failure = Failure(began_at, attempts, outcome.error, retry_at)
        return replace(self, failure=failure, gone=outcome.gone)

    def lost_some(self, of: Webhook, now: Instant) -> Webhook | None:
        """When not all that was to be told as of then is kept any more: it's to be told so before anything else."""
        if self._message != of._message:
            return None
        lost = Loss(self.place.read_at, now)
        return replace(self, hand=None, losses=self.losses + 1, lost=lost, owes_notice=True)

    @property
    def _message(self) -> tuple[object, ...]:
        """What tells apart what is to be told next."""
        return self.created_at, self.place, self.hand, self.owes_notice, self.losses


def _retry_at(attempts: int, wish: Instant, now: Instant, jitter: float) -> Instant:
    """Exponential backoff with full jitter, so that many webhooks of one receiver don't come back all at once; later if
    the receiver asks for it."""
    pause = min(_FIRST_PAUSE << min(attempts - 1, 20), _LONGEST_PAUSE)
    return max(now + int(pause * jitter), min(wish, now + _LONGEST_WISH))
