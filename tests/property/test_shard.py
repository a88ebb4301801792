"""The throttle of a campaign: shards that know nothing of each other keep the rate together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.chassis.clock import HOUR, SECOND
from services.orchestrator.campaigns.shard import allowed

STARTED = 1_750_000_000 * SECOND

rates = st.one_of(
    st.sampled_from((0.1, 1 / 3, 1.0, 3.0, 7.0, 10.0, 999.0, 50_000.0)),
    st.floats(0.01, 100_000, allow_nan=False, allow_infinity=False),
)
audiences = st.lists(st.integers(1, 60), min_size=1, max_size=5)
elapsed = st.lists(st.integers(0, 2 * HOUR), min_size=1, max_size=12).map(sorted)


@given(rates, audiences, elapsed)
def test_nobody_twice_nobody_skipped_and_never_faster_than_the_rate(
    rate: float, sizes: list[int], times: list[int]
) -> None:
    decided = [0] * len(sizes)
    for time in times:
        now = STARTED + time
        for number, total in enumerate(sizes):
            count, next_turn = allowed(sum(sizes[:number]), decided[number], total, rate, STARTED, now)
            assert 0 <= count <= total - decided[number]
            decided[number] += count
            assert (next_turn == 0) == (decided[number] == total)
            assert next_turn == 0 or next_turn > now
        assert sum(decided) <= rate * time / SECOND + 1 + 1e-6
        # Recipients have their turns in order: a shard begins only when those before it are through.
        assert all(
            before == size or not after for before, size, after in zip(decided, sizes, decided[1:], strict=False)
        )


@given(rates, st.integers(0, 1_000_000), st.integers(1, 60))
def test_waking_at_each_next_turn_decides_everybody_without_an_idle_wake(rate: float, first: int, total: int) -> None:
    decided, now = 0, STARTED + int(first * SECOND / rate) + 1
    for _ in range(total + 1):
        count, next_turn = allowed(first, decided, total, rate, STARTED, now)
        decided += count
        if not next_turn:
            break
        assert count, "woken for nothing"
        now = next_turn
    assert decided == total


@given(st.floats(-1, 0), st.integers(0, 60), st.integers(0, 10**9))
def test_without_a_rate_everybody_has_their_turn_at_once(rate: float, decided: int, first: int) -> None:
    assert allowed(first, decided, 60, rate, STARTED, STARTED) == (60 - decided, 0)


@given(rates, st.integers(1, 10 * SECOND))
def test_by_a_clock_that_is_behind_nobody_has_their_turn_yet(rate: float, behind: int) -> None:
    count, next_turn = allowed(0, 0, 10, rate, STARTED, STARTED - behind)
    assert count == 0
    assert next_turn >= STARTED
