"""A message on its way to one provider call: which states it has, and what moves it from one to the next.

Everything here is a function from a message, the time and what happened to the message as it is afterwards. Whoever
calls them stores the result by compare-and-set on the document it read; so of two workers with the same message one
wins, and the other finds out before it calls a provider. The rules that keep a message from being accepted twice:

- Only a message that was stored as SENDING may be given to a provider, once, by the worker that stored it.
- A SENDING message whose lease has ended is never sent again by itself (policy `PARK`): it becomes UNKNOWN.
- A provider's acceptance is a fact, however late it is learned: it moves every state to SENT.

The message of somebody who was erased is `erased`: it's never given to a provider again, whatever comes, and no words
are kept with it.

`fence` counts who has had the message: a worker reports what the provider said with the fence it called with.
Instants and durations are microseconds.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import IntEnum

from services.chassis.errors import FailedPrecondition

SECOND = 1_000_000
DEFAULT_LIFETIME = 24 * 3600 * SECOND

_LONGEST_PAUSE = 900 * SECOND
_SHORTEST_PAUSE = SECOND // 2
_HISTORY = 50


class State(IntEnum):
    """The numbers are those of `camino.channels.v1.MessageState`."""

    RESERVED = 1
    SENDING = 2
    RETRY = 3
    SENT = 4
    FAILED = 5
    SUPPRESSED = 6
    CANCELLED = 7
    EXPIRED = 8
    UNKNOWN = 9


TERMINAL = frozenset(
    (State.SENT, State.FAILED, State.SUPPRESSED, State.CANCELLED, State.EXPIRED, State.UNKNOWN),
)


class Policy(IntEnum):
    """What to do when nobody knows whether a provider took it; numbered like `camino.type.v1.UnknownPolicy`."""

    PARK = 1
    RESEND = 2


class Resolution(IntEnum):
    """What someone found out about an UNKNOWN message. The numbers are those of `camino.channels.v1.Resolution`."""

    SENT = 1
    FAILED = 2
    SEND_AGAIN = 3


_RESOLVED = {
    Resolution.SENT: State.SENT,
    Resolution.FAILED: State.FAILED,
    Resolution.SEND_AGAIN: State.RETRY,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message."""

    ref: str = ""
    """What the provider calls it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider won't take it, now or later."""

    detail: str
    endpoint_invalid: bool = False
    """It's the endpoint that is refused: nothing is to be sent there any more."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The provider didn't take it, and may later."""

    detail: str
    retry_after: int = 0
    """Not before so many microseconds, when the provider said so."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider was given the message, or may have been, and didn't answer."""

    detail: str


Outcome = Accepted | Rejected | Deferred | Unknown
Transition = tuple[int, int, str]
"""The state entered, when, and a detail."""


@dataclass(slots=True)
class Message:
    send_id: str
    policy: Policy
    not_after: int
    created_at: int
    state: State
    fence: int
    due_at: int
    """When others may act: the lease's end while RESERVED or SENDING, the next try while RETRY, 0 when terminal."""
    attempt: int
    """Calls to a provider that were committed to."""
    updated_at: int
    history: tuple[Transition, ...]
    reason: str = ""
    """A name of `camino.errors.v1.Reason`, without its prefix."""
    detail: str = ""
    provider: str = ""
    provider_ref: str = ""
    resolution: int = 0
    erased: bool = False
    """Its person was. It's SENDING or has come to an end."""

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL


def reserve(send_id: str, policy: Policy, not_after: int, now: int, lease: int) -> Message:
    """A new message that is ours until the lease ends."""
    return Message(
        send_id, policy, not_after, now, State.RESERVED, 1, now + lease, 0, now, ((State.RESERVED, now, ""),)
    )


def take_over(message: Message, now: int, lease: int) -> Message | None:
    """The message for another worker, if its time has come; else None.

    A reservation that ended and a retry that is due are reserved anew. A call that never reported back is UNKNOWN, or
    reserved anew where the policy is to send again and there is time to.
    """
    if message.terminal or message.due_at > now:
        return None
    if message.state is State.SENDING and not (_resends(message) and now < message.not_after):
        detail = "the call to the provider never reported back"
        return _moved(message, State.UNKNOWN, now, reason="PROVIDER_OUTCOME_UNKNOWN", detail=detail)
    return _moved(message, State.RESERVED, now, due_at=now + lease, fence=message.fence + 1)


def refuse(message: Message, state: State, reason: str, detail: str, now: int) -> Message:
    """A reserved message that won't be given to a provider."""
    assert message.state is State.RESERVED
    assert state in TERMINAL
    return _moved(message, state, now, reason=reason, detail=detail)


def commit(message: Message, provider: str, now: int, lease: int) -> Message | None:
    """Decide to call the provider now; the lease starts anew, for the call. EXPIRED when the message's time is over.

    None when the reservation has ended: then it's left to whoever takes it over.
    """
    assert message.state is State.RESERVED
    if now >= message.due_at:
        return None
    if now >= message.not_after:
        return expire(message, now)
    return _moved(
        message, State.SENDING, now, due_at=now + lease, attempt=message.attempt + 1, provider=provider, clear=True
    )


def expire(message: Message, now: int, detail: str = "") -> Message:
    return _moved(message, State.EXPIRED, now, reason="MESSAGE_EXPIRED", detail=detail or "its lifetime has ended")


def may_call(message: Message, now: int, timeout: int) -> bool:
    """Whether a message that was stored as SENDING has lease enough for the provider to answer within its time-out.

    Asked right before the call: a worker that was held up between commit and call gives the message back.
    """
    return message.due_at - now >= timeout and now < message.not_after


def record(message: Message, fence: int, outcome: Outcome, now: int) -> Message | None:
    """What the provider said to the worker with this fence. None when that changes nothing any more.

    Normally the message is SENDING with that fence. If the worker was away for longer than its lease, it's UNKNOWN or
    in other hands: then an acceptance still makes it SENT, and any other definite answer still settles an UNKNOWN.
    """
    if isinstance(outcome, Accepted):
        if message.state is State.SENT:
            return None
        return _moved(message, State.SENT, now, ref=outcome.ref, clear=True)
    if message.fence != fence or message.state not in (State.SENDING, State.UNKNOWN):
        return None
    if isinstance(outcome, Rejected):
        reason = "ENDPOINT_REJECTED" if outcome.endpoint_invalid else "PROVIDER_REJECTED"
        return _moved(message, State.FAILED, now, reason=reason, detail=outcome.detail)
    if isinstance(outcome, Deferred):
        if message.erased:
            return _cancelled(message, now)
        at = next_try(message, now, outcome.retry_after)
        if at is None:
            return expire(message, now, outcome.detail)
        return _moved(message, State.RETRY, now, due_at=at, reason="PROVIDER_DEFERRED", detail=outcome.detail)
    if message.state is State.UNKNOWN:
        return None
    reason = "PROVIDER_OUTCOME_UNKNOWN"
    again = next_try(message, now, 0) if _resends(message) else None
    if again is None:
        return _moved(message, State.UNKNOWN, now, reason=reason, detail=outcome.detail)
    return _moved(message, State.RETRY, now, due_at=again, reason=reason, detail=outcome.detail)


def resolve(message: Message, resolution: Resolution, note: str, now: int) -> Message | None:
    """What someone found out about an UNKNOWN message. None when it has been said before.

    Raises `FailedPrecondition` when the message isn't UNKNOWN, or is to be sent again and its person was erased.
    """
    state = {Resolution.SENT: State.SENT, Resolution.FAILED: State.FAILED, Resolution.SEND_AGAIN: State.RETRY}[
        resolution
    ]
    if message.state is not State.UNKNOWN:
        if message.resolution == resolution or message.state is state is not State.RETRY:
            return None
        raise FailedPrecondition(f"the message is {message.state.name}, and only an UNKNOWN one can be resolved")
    if message.erased and resolution is Resolution.SEND_AGAIN:
        raise FailedPrecondition("the message's person was erased, so it can't be sent again")
    detail = note or "resolved by hand"
    if resolution is Resolution.SEND_AGAIN and now >= message.not_after:
        return expire(message, now, detail)
    due_at = now if resolution is Resolution.SEND_AGAIN else 0
    reason = "PROVIDER_REJECTED" if resolution is Resolution.FAILED else ""
    return _moved(message, state, now, due_at=due_at, reason=reason, detail=detail, resolution=resolution)


def erase(message: Message, now: int) -> Message:
    """What is left of a message when its person is erased; once more changes nothing.

    CANCELLED, unless it has come to an end. One that is SENDING stays so, since only whoever calls the provider learns
    how it ends: it ends with that call.
    """
    if message.erased:
        return message
    bare = replace(
        message,
        detail="",
        provider_ref="",
        history=tuple((state, at, "") for state, at, _ in message.history),
        erased=True,
    )
    return bare if message.terminal or message.state is State.SENDING else _cancelled(bare, now)


def _cancelled(message: Message, now: int) -> Message:
    return _moved(message, State.CANCELLED, now, reason="PROFILE_ERASED")


def _resends(message: Message) -> bool:
    """Whether it's sent again when nobody knows whether the provider took it."""
    return message.policy is Policy.RESEND and not message.erased


def next_try(message: Message, now: int, at_least: int) -> int | None:
    """When to call the provider again, or None when the message's lifetime leaves no room for that.

    Doubling from a second to a quarter of an hour, but never more than half of what is left: so that a message with a
    short life uses it. The jitter is derived from the message, so that the same facts give the same instant.
    """
    pause = min(SECOND << min(max(message.attempt, 1) - 1, 20), _LONGEST_PAUSE)
    pause = pause // 2 + zlib.crc32(f"{message.send_id}/{message.attempt}".encode()) % (pause // 2)
    pause = max(min(pause, (message.not_after - now) // 2), at_least)
    return now + pause if pause >= _SHORTEST_PAUSE and now + pause < message.not_after else None


def _moved(
    message: Message,
    state: State,
    now: int,
    *,
    due_at: int = 0,
    fence: int = 0,
    attempt: int = 0,
    reason: str = "",
    detail: str = "",
    provider: str = "",
    ref: str = "",
    resolution: int = 0,
    clear: bool = False,
) -> Message:
    """The message in another state. Reason and detail stay when none are given, unless they no longer apply."""
    if message.erased:
        detail = ref = ""
    history = (*message.history, (int(state), now, detail))
    if len(history) > _HISTORY:
        history = (history[0], *history[1 - _HISTORY :])
    keep = not (reason or clear or state is State.SENT or resolution)
    return Message(
        message.send_id,
        message.policy,
        message.not_after,
        message.created_at,
        state,
        fence or message.fence,
        due_at,
        attempt or message.attempt,
        now,
        history,
        message.reason if keep else reason,
        message.detail if keep else detail,
        provider or message.provider,
        ref or message.provider_ref,
        resolution or message.resolution,
        message.erased,
    )
