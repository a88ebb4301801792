"""Money adds up as on paper: sums and means of what is written with decimals are exact, right at the bounds too."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

from hypothesis import example, given
from hypothesis import strategies as st

from services.segment import domain as d
from services.segment.evaluate import evaluate
from services.segment.evaluate.amounts import mean_is_within, mean_of, sum_is_within, sum_of

NOW = 1_000
cents = st.integers(-200_000, 2_000_000)
finite = st.floats(allow_nan=False, allow_infinity=False)


def bought(amounts: list[float]) -> d.Facts:
    at = list(range(len(amounts)))
    return d.Facts({}, {"purchase": d.History(at, [f"{one:03}" for one in at], [{"value": one} for one in amounts])})


def says(aggregate: d.Sum | d.Average, facts: d.Facts, window: d.Window = None) -> bool | None:
    return evaluate(d.EventAggregate("purchase", aggregate, (), window), facts, NOW).value


@given(st.lists(cents, min_size=1, max_size=30))
@example([6150, 2295])
@example([10, 20])
def test_whoever_spent_just_so_much_spent_at_least_so_much_and_not_more(spent: list[int]) -> None:
    facts = bought([one / 100 for one in spent])
    in_all, mean = sum(spent) / 100, float(Fraction(sum(spent), 100 * len(spent)))
    for window in (None, d.Within(10_000)):
        for kind, bound in ((d.Sum, in_all), (d.Average, mean)):
            assert says(kind("value", d.NumberRange(at_least=bound)), facts, window) is True
            assert says(kind("value", d.NumberRange(at_most=bound)), facts, window) is True
            assert says(kind("value", d.NumberRange(above=bound)), facts, window) is False
            assert says(kind("value", d.NumberRange(below=bound)), facts, window) is False


@given(st.lists(st.integers(0, 20_000), min_size=2, max_size=12), st.data())
@example([6150, 2295, 1], None)
def test_a_sum_leaves_a_bound_with_the_purchase_that_makes_the_difference(
    spent: list[int], data: st.DataObject | None
) -> None:
    """Which one it is, is told by whole cents."""
    left = list(accumulate(reversed(spent)))[::-1]
    bound = data.draw(st.sampled_from(left)) if data else left[1]
    rule = d.EventAggregate("purchase", d.Sum("value", d.NumberRange(at_least=bound / 100)), (), d.Within(NOW))
    value, until = evaluate(rule, bought([one / 100 for one in spent]), len(spent))
    assert value is True
    gone = next((index for index, rest in enumerate([*left, 0]) if rest < bound), None)
    assert until == (None if gone is None else gone - 1 + NOW)


@given(st.lists(finite | st.sampled_from([5e-324, 0.1, 1e308, -1e308, 0.3]), max_size=8), st.data())
def test_what_is_close_is_found_to_be(amounts: list[float], data: st.DataObject) -> None:
    """The quick answer is the exact one."""
    made = sum_of(amounts)
    mean = mean_of(amounts) if amounts else 0.0
    bounds = st.sampled_from([made, -made, sum(amounts), mean, -mean, *amounts, 0.0]) | finite
    low, high = data.draw(bounds), data.draw(bounds)
    signed = min(amounts, default=0.0) < 0
    assert sum_is_within(amounts, low, high, signed) is (low <= made <= high)
    if amounts:
        assert mean_is_within(amounts, low, high) is (low <= mean <= high)
