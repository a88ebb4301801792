"""What the exhaustive model in tests/property doesn't look at: instants, reasons, resolutions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channels import domain
from services.channels.domain import (
    SECOND,
    Accepted,
    Deferred,
    Message,
    Policy,
    Rejected,
    Resolution,
    State,
    Unknown,
)
from services.chassis.errors import FailedPrecondition

NOW = 1_750_000_000 * SECOND
LEASE = 20 * SECOND


def reserved(policy: Policy = Policy.PARK, lifetime: int = 3600 * SECOND) -> Message:
    return domain.reserve("018f-send", policy, NOW + lifetime, NOW, LEASE)


def sending(policy: Policy = Policy.PARK, lifetime: int = 3600 * SECOND) -> Message:
    message = domain.commit(reserved(policy, lifetime), "smtp", NOW, LEASE)
    assert message is not None
    return message


def recorded(outcome: domain.Outcome, policy: Policy = Policy.PARK, lifetime: int = 3600 * SECOND) -> Message:
    message = sending(policy, lifetime)
    after = domain.record(message, message.fence, outcome, NOW + SECOND)
    assert after is not None
    return after


def test_an_accepted_message_is_sent() -> None:
    message = recorded(Accepted("queued as 42"))
    assert (message.state, message.provider, message.provider_ref) == (State.SENT, "smtp", "queued as 42")
    assert message.due_at == 0
    assert [entry[0] for entry in message.history] == [State.RESERVED, State.SENDING, State.SENT]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Rejected("no"), "PROVIDER_REJECTED"), (Rejected("no such user", endpoint_invalid=True), "ENDPOINT_REJECTED")],
)
def test_a_rejected_message_has_failed(outcome: domain.Outcome, reason: str) -> None:
    message = recorded(outcome)
    assert (message.state, message.reason) == (State.FAILED, reason)


def test_a_deferred_message_waits_and_is_called_again_with_the_next_fence() -> None:
    message = recorded(Deferred("busy"))
    assert message.state is State.RETRY
    assert NOW + SECOND < message.due_at <= NOW + 2 * SECOND
    assert domain.take_over(message, message.due_at - 1, LEASE) is None
    again = domain.take_over(message, message.due_at, LEASE)
    assert again is not None
    assert (again.state, again.fence) == (State.RESERVED, 2)


def test_the_provider_says_how_long_to_wait() -> None:
    assert recorded(Deferred("busy", retry_after=90 * SECOND)).due_at == NOW + 91 * SECOND


def test_a_deferred_message_without_time_left_has_expired() -> None:
    message = recorded(Deferred("busy", retry_after=90 * SECOND), lifetime=60 * SECOND)
    assert (message.state, message.reason, message.detail) == (State.EXPIRED, "MESSAGE_EXPIRED", "busy")


def test_without_an_answer_it_is_parked_or_sent_again_as_the_policy_says() -> None:
    assert recorded(Unknown("lost")).state is State.UNKNOWN
    assert recorded(Unknown("lost"), Policy.RESEND).state is State.RETRY


def test_a_call_that_never_reported_back_is_parked_or_taken_over() -> None:
    late = NOW + LEASE
    parked = domain.take_over(sending(), late, LEASE)
    again = domain.take_over(sending(Policy.RESEND), late, LEASE)
    assert parked is not None
    assert again is not None
    assert (parked.state, parked.reason) == (State.UNKNOWN, "PROVIDER_OUTCOME_UNKNOWN")
    assert (again.state, again.fence) == (State.RESERVED, 2)


def test_a_late_success_moves_unknown_to_sent() -> None:
    message = sending()
    parked = domain.take_over(message, NOW + LEASE, LEASE)
    assert parked is not None
    late = domain.record(parked, message.fence, Accepted("ref"), NOW + 2 * LEASE)
    assert late is not None
    assert (late.state, late.reason) == (State.SENT, "")


def test_only_the_worker_with_the_fence_can_report_a_refusal() -> None:
    message = sending()
    assert domain.record(message, message.fence - 1, Rejected("no"), NOW) is None


def test_nothing_is_committed_after_its_lifetime_or_its_reservation() -> None:
    expired = domain.commit(reserved(lifetime=10 * SECOND), "smtp", NOW + 10 * SECOND, LEASE)
    assert expired is not None
    assert expired.state is State.EXPIRED
    assert domain.commit(reserved(), "smtp", NOW + LEASE, LEASE) is None


def test_the_call_needs_lease_and_lifetime() -> None:
    message = sending(lifetime=15 * SECOND)
    assert domain.may_call(message, NOW, 10 * SECOND)
    assert not domain.may_call(message, NOW + 11 * SECOND, 10 * SECOND)
    assert not domain.may_call(message, NOW + 15 * SECOND, SECOND)


@pytest.mark.parametrize(
    ("resolution", "state"),
    [(Resolution.SENT, State.SENT), (Resolution.FAILED, State.FAILED), (Resolution.SEND_AGAIN, State.RETRY)],
)
def test_an_unknown_message_is_resolved_once(resolution: Resolution, state: State) -> None:
    message = domain.resolve(recorded(Unknown("lost")), resolution, "asked the provider", NOW + 60 * SECOND)
    assert message is not None
    assert message.state is state
    assert message.history[-1][2] == "asked the provider"
    assert domain.resolve(message, resolution, "again", NOW + 61 * SECOND) is None


def test_only_an_unknown_message_can_be_resolved() -> None:
    with pytest.raises(FailedPrecondition, match="RETRY"):
        domain.resolve(recorded(Deferred("busy")), Resolution.SENT, "", NOW)


def test_sending_again_after_the_lifetime_is_expiring() -> None:
    message = domain.resolve(recorded(Unknown("lost")), Resolution.SEND_AGAIN, "", NOW + 3600 * SECOND)
    assert message is not None
    assert message.state is State.EXPIRED


@given(st.integers(1, 60), st.integers(0, 30 * 24 * 3600), st.text(max_size=40))
def test_pauses_stay_inside_the_lifetime_and_are_the_same_for_the_same_facts(
    attempt: int, lifetime: int, send_id: str
) -> None:
    message = domain.reserve(send_id, Policy.PARK, NOW + lifetime * SECOND, NOW, LEASE)
    message.attempt = attempt
    at = domain.next_try(message, NOW, 0)
    assert at == domain.next_try(message, NOW, 0)
    if at is None:
        assert lifetime <= 1
    else:
        assert NOW + SECOND // 2 <= at < message.not_after
        assert at - NOW <= 900 * SECOND


def test_a_message_that_is_always_deferred_expires_and_uses_its_lifetime() -> None:
    message = sending(lifetime=300 * SECOND)
    now = NOW
    while True:
        after = domain.record(message, message.fence, Deferred("busy"), now)
        assert after is not None
        if after.state is State.EXPIRED:
            break
        now = after.due_at
        taken = domain.take_over(after, now, LEASE)
        assert taken is not None
        committed = domain.commit(taken, "smtp", now, LEASE)
        assert committed is not None
        message = committed
    assert NOW + 295 * SECOND < now < NOW + 300 * SECOND
    assert 10 < message.attempt < 25


def test_a_history_keeps_its_beginning_and_its_end() -> None:
    message = sending(lifetime=30 * 24 * 3600 * SECOND)
    now = NOW
    for _ in range(100):
        waiting = domain.record(message, message.fence, Deferred("busy"), now)
        assert waiting is not None
        now = waiting.due_at
        taken = domain.take_over(waiting, now, LEASE)
        assert taken is not None
        committed = domain.commit(taken, "smtp", now, LEASE)
        assert committed is not None
        message = committed
    assert len(message.history) == 50
    assert message.history[0] == (State.RESERVED, NOW, "")
    assert message.history[-1][:2] == (State.SENDING, now)
