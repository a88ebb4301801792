"""What becomes of a message when its person is erased, whatever its state was, and whatever is learned of it later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.channels import domain
from services.channels.domain import (
    SECOND,
    Accepted,
    Deferred,
    Message,
    Outcome,
    Policy,
    Rejected,
    Resolution,
    State,
    Unknown,
)
from services.chassis.errors import FailedPrecondition

NOW = 1_750_000_000 * SECOND
LEASE = 20 * SECOND
WORDS = "550 ana@example.com"


def reserved(policy: Policy = Policy.PARK) -> Message:
    return domain.reserve("s", policy, NOW + 3600 * SECOND, NOW, LEASE)


def sending(policy: Policy = Policy.PARK) -> Message:
    message = domain.commit(reserved(policy), "smtp", NOW, LEASE)
    assert message is not None
    return message


def recorded(message: Message, outcome: Outcome) -> Message:
    after = domain.record(message, message.fence, outcome, NOW + SECOND)
    assert after is not None
    return after


def has_words(message: Message) -> bool:
    return bool(message.detail or message.provider_ref or any(detail for _, _, detail in message.history))


@pytest.mark.parametrize("message", [reserved(), recorded(sending(), Deferred(WORDS))], ids=["reserved", "retry"])
def test_what_is_not_at_a_provider_is_called_off(message: Message) -> None:
    erased = domain.erase(message, NOW + 2 * SECOND)
    assert (erased.state, erased.reason, erased.due_at) == (State.CANCELLED, "PROFILE_ERASED", 0)
    assert erased.updated_at == NOW + 2 * SECOND
    assert not has_words(erased)


@pytest.mark.parametrize(
    "outcome", [Accepted(WORDS), Rejected(WORDS), Unknown(WORDS)], ids=lambda one: type(one).__name__
)
def test_an_end_stays_and_its_words_go(outcome: Outcome) -> None:
    message = recorded(sending(), outcome)
    assert has_words(message)
    erased = domain.erase(message, NOW + 2 * SECOND)
    assert not has_words(erased)
    assert [entry[:2] for entry in erased.history] == [entry[:2] for entry in message.history]
    wordless = replace(message, detail="", provider_ref="", history=(), erased=True)
    assert replace(erased, history=()) == wordless


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Accepted(WORDS), State.SENT, ""),
        (Rejected(WORDS), State.FAILED, "PROVIDER_REJECTED"),
        (Rejected(WORDS, endpoint_invalid=True), State.FAILED, "ENDPOINT_REJECTED"),
        (Deferred(WORDS), State.CANCELLED, "PROFILE_ERASED"),
        (Unknown(WORDS), State.UNKNOWN, "PROVIDER_OUTCOME_UNKNOWN"),
    ],
)
def test_what_is_at_a_provider_ends_with_that_call(policy: Policy, outcome: Outcome, state: State, reason: str) -> None:
    message = sending(policy)
    erased = domain.erase(message, NOW)
    assert (erased.state, erased.fence, erased.due_at) == (State.SENDING, message.fence, message.due_at)
    ended = recorded(erased, outcome)
    assert (ended.state, ended.reason, ended.erased) == (state, reason, True)
    assert not has_words(ended)


@pytest.mark.parametrize("policy", list(Policy))
def test_a_call_that_never_reports_back_is_unknown_and_not_made_again(policy: Policy) -> None:
    taken = domain.take_over(domain.erase(sending(policy), NOW), NOW + LEASE, LEASE)
    assert taken is not None
    assert taken.state is State.UNKNOWN
    assert not has_words(taken)
    assert recorded(taken, Accepted(WORDS)).state is State.SENT


def test_an_unknown_one_can_be_resolved_but_not_sent_again() -> None:
    unknown = domain.erase(recorded(sending(), Unknown(WORDS)), NOW)
    with pytest.raises(FailedPrecondition, match="erased"):
        domain.resolve(unknown, Resolution.SEND_AGAIN, WORDS, NOW)
    for resolution, state in ((Resolution.SENT, State.SENT), (Resolution.FAILED, State.FAILED)):
        resolved = domain.resolve(unknown, resolution, WORDS, NOW)
        assert resolved is not None
        assert resolved.state is state
        assert not has_words(resolved)


def test_once_more_changes_nothing() -> None:
    erased = domain.erase(reserved(), NOW)
    assert domain.erase(erased, NOW + SECOND) == erased
