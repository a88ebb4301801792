"""What `camino top` reckons from two readings of a service's metrics."""

from __future__ import annotations

import math

import pytest

from cli.samples import Samples, Span

BEFORE = """\
# TYPE process_start_time_seconds gauge
process_start_time_seconds 50.0
# TYPE calls_total counter
calls_total{method="a",status="OK"} 10.0
calls_total{method="b",status="OK"} 1.0
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 1.0
took_seconds_bucket{le="1.0"} 1.0
took_seconds_bucket{le="+Inf"} 1.0
took_seconds_count 1.0
took_seconds_sum 0.05
"""
AFTER = BEFORE.replace("10.0\n", "30.0\n").replace('le="1.0"} 1.0', 'le="1.0"} 11.0').replace('Inf"} 1.0', 'Inf"} 13.0')


@pytest.fixture
def span() -> Span:
    return Span(Samples.of(100, BEFORE), Samples.of(110, AFTER))


def test_rates_are_of_the_time_between(span: Span) -> None:
    assert span.rate("calls_total") == 2
    assert span.rate("calls_total", method="b") == 0
    assert span.rate("nothing_total") == 0


def test_the_first_reading_is_of_the_time_since_the_service_began() -> None:
    now = Samples.of(100, BEFORE)
    assert Span(Samples.none_yet(now), now).rate("calls_total") == 11 / 50


def test_a_quantile_lies_within_its_bucket(span: Span) -> None:
    # Between the two: none up to 0.1, ten up to 1, two above.
    assert span.quantile(0.5, "took_seconds") == pytest.approx(0.1 + 0.9 * 6 / 10)
    assert span.quantile(0.99, "took_seconds") == 1  # the last bound that is known
    assert math.isnan(span.quantile(0.99, "nothing_seconds"))


def test_nobody_there_is_no_reading() -> None:
    assert Samples.read("127.0.0.1:1") is None
