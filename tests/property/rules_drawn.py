"""Rules over the whole language, and facts to hold them to, on a given scale of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property

from hypothesis import strategies as st

from services.segment import domain as d

NAMES = ("a", "b")
TYPES = ("purchase", "visit")
TOPICS = ("news", "offers")

numbers = st.sampled_from([-1.5, -0.1, 0.0, 0.1, 0.2, 0.3, 1.0, 2.0, 1e308])
bounds = st.none() | numbers
number_ranges = st.builds(d.NumberRange, bounds, bounds, bounds, bounds)
count_bounds = st.none() | st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
count_ranges = st.builds(d.NumberRange, count_bounds, count_bounds, count_bounds, count_bounds)
consent_tests = st.builds(
    d.ConsentTest,
    st.sampled_from(["email", "sms"]),
    st.sampled_from(TOPICS),
    st.sampled_from(["opted in", "opted out", "unknown"]),
)
consents = st.dictionaries(st.sampled_from([f"{c}/{t}" for c in ("email", "sms") for t in TOPICS]), st.booleans())

Happening = tuple[int, str, dict[str, d.Value]]


@dataclass(frozen=True)
class Scale:
    """When things may happen, how long they may take, and texts that some of them may be."""

    instants: st.SearchStrategy[int]
    durations: st.SearchStrategy[int]
    texts: st.SearchStrategy[str]
    zones: st.SearchStrategy[str] = field(default_factory=lambda: st.just(""))
    dates: bool = False

    @cached_property
    def values(self) -> st.SearchStrategy[d.Value]:
        return st.one_of(numbers, self.texts, st.booleans(), self.instants, st.lists(self.texts, max_size=3))

    @cached_property
    def time_ranges(self) -> st.SearchStrategy[d.TimeRange]:
        return st.builds(d.TimeRange, st.none() | self.instants, st.none() | self.instants)

    @cached_property
    def attribute_tests(self) -> st.SearchStrategy[d.AttributeTest]:
        frozen = self.values.map(lambda value: tuple(value) if isinstance(value, list) else value)
        tests = st.one_of(
            st.builds(d.Equals, frozen),
            st.builds(d.In, st.lists(frozen, min_size=1, max_size=3).map(tuple)),
            st.builds(d.Contains, self.texts),
            st.builds(d.StartsWith, self.texts),
            st.builds(d.Exists, st.booleans()),
            number_ranges,
            self.time_ranges,
        )
        return st.builds(d.AttributeTest, st.sampled_from(NAMES), tests)

    @cached_property
    def windows(self) -> st.SearchStrategy[d.Window]:
        return st.one_of(st.none(), st.builds(d.Within, self.durations), self.time_ranges)

    @cached_property
    def event_conditions(self) -> st.SearchStrategy[d.Condition]:
        ages = st.builds(d.Age, st.none() | self.durations, st.none() | self.durations)
        one = st.one_of(self.attribute_tests, self.time_ranges, ages)
        names = st.sampled_from(NAMES)
        aggregates = st.one_of(
            st.builds(d.Count, count_ranges),
            st.builds(d.Sum, names, number_ranges),
            st.builds(d.Min, names, number_ranges),
            st.builds(d.Max, names, number_ranges),
            st.builds(d.Average, names, number_ranges),
            st.builds(d.First, one),
            st.builds(d.Last, one),
        )
        where = st.just(()) | st.lists(self.attribute_tests, max_size=1).map(tuple)
        steps = st.lists(st.builds(d.Step, st.sampled_from(TYPES), where), min_size=2, max_size=3).map(tuple)
        return st.one_of(
            st.builds(d.EventAggregate, st.sampled_from(TYPES), aggregates, where, self.windows),
            st.builds(d.Sequence, steps, st.none() | self.durations, self.windows, st.booleans()),
        )

    @cached_property
    def date_tests(self) -> st.SearchStrategy[d.Condition]:
        near = st.none() | st.integers(-3, 3)
        coming = st.none() | st.sampled_from([0, 1, 2, 3, 363, 364, 365])
        tests = st.one_of(
            st.builds(d.InDays, st.builds(d.DayRange, near, near)),
            st.builds(d.AnniversaryInDays, st.builds(d.DayRange, coming, coming)),
        )
        return st.builds(d.DateTest, st.sampled_from(NAMES), tests, self.zones)

    @cache  # noqa: B019 (there are few scales, and they're as old as the tests)
    def conditions(self, *segments: str) -> st.SearchStrategy[d.Condition]:
        """That may ask these segments."""
        leaves = [self.attribute_tests, self.event_conditions, self.event_conditions, consent_tests]
        if self.dates:
            leaves += [self.date_tests, self.date_tests]
        if segments:
            leaves.append(st.builds(d.InSegment, st.sampled_from(segments)))
        return st.recursive(
            st.one_of(leaves),
            lambda inner: st.one_of(
                st.builds(d.All, st.lists(inner, min_size=1, max_size=4).map(tuple)),
                st.builds(d.Any, st.lists(inner, min_size=1, max_size=4).map(tuple)),
                st.builds(d.Not, inner),
            ),
            max_leaves=6,
        )

    @cached_property
    def happenings(self) -> st.SearchStrategy[Happening]:
        amounts = st.fixed_dictionaries({"a": numbers})
        properties = st.dictionaries(st.sampled_from(NAMES), self.values, max_size=2) | amounts
        return st.tuples(self.instants, st.sampled_from(TYPES), properties)

    @cached_property
    def attributes(self) -> st.SearchStrategy[dict[str, d.Value]]:
        return st.dictionaries(st.sampled_from(NAMES), self.values, max_size=2)

    @cached_property
    def facts(self) -> st.SearchStrategy[d.Facts]:
        return st.builds(facts_of, self.attributes, st.lists(self.happenings, max_size=8), consents, self.zones)


def facts_of(
    attributes: dict[str, d.Value],
    happenings: list[Happening],
    consents: dict[str, bool] | None = None,
    time_zone: str = "",
) -> d.Facts:
    facts = d.Facts(attributes, {}, consents or {}, time_zone)
    for index, (at, kind, held) in sorted(enumerate(happenings), key=lambda item: (item[1][0], item[0])):
        history = facts.events.setdefault(kind, d.History([], [], []))
        history.at.append(at)
        history.ids.append(f"e{index:02}")
        history.properties.append(held)
    return facts


# --- where something happens all the time -----------------------------------------------------------------------------

_moments = st.integers(0, 12)
_spans = st.integers(1, 6)
_amounts = st.sampled_from([-1.0, 0.0, 1.0, 2.0])
_near = st.one_of(
    st.builds(d.NumberRange, at_least=_amounts),
    st.builds(d.NumberRange, above=_amounts),
    st.builds(d.NumberRange, at_most=_amounts),
    st.builds(lambda low: d.NumberRange(low, below=low + 1.0), _amounts),
)
_spent = st.builds(d.AttributeTest, st.just("a"), _near)
_times = st.one_of(
    st.builds(d.TimeRange, at_or_after=_moments),
    st.builds(d.TimeRange, before=_moments),
    st.builds(lambda start, long: d.TimeRange(start, start + long), _moments, _spans),
)
_ages = st.one_of(
    st.builds(d.Age, at_least=_spans),
    st.builds(d.Age, below=_spans),
    st.builds(lambda least, more: d.Age(least, least + more), _spans, _spans),
)
_windows = st.one_of(st.none(), st.builds(d.Within, _spans), st.builds(d.Within, _spans), _times)
_where = st.sampled_from([(), (), (d.AttributeTest("a", d.NumberRange(above=0.0)),)])
_types = st.sampled_from(["purchase", "purchase", "visit"])


def _of_purchases(aggregate: st.SearchStrategy[d.Aggregate]) -> st.SearchStrategy[d.Condition]:
    return st.builds(d.EventAggregate, st.just("purchase"), aggregate, _where, _windows)


def _sequences(from_first: bool) -> st.SearchStrategy[d.Condition]:
    steps = st.lists(st.builds(d.Step, _types, _where), min_size=2, max_size=3).map(tuple)
    return st.builds(d.Sequence, steps, st.none() | _spans | _spans, _windows, st.just(from_first))


BUSY: dict[str, st.SearchStrategy[d.Condition]] = {
    "min": _of_purchases(st.builds(d.Min, st.just("a"), _near)),
    "max": _of_purchases(st.builds(d.Max, st.just("a"), _near)),
    "average": _of_purchases(st.builds(d.Average, st.just("a"), _near)),
    "first, of a property": _of_purchases(st.builds(d.First, _spent)),
    "last, of a property": _of_purchases(st.builds(d.Last, _spent)),
    "first, in time": _of_purchases(st.builds(d.First, _times)),
    "last, in time": _of_purchases(st.builds(d.Last, _times)),
    "first, of an age": _of_purchases(st.builds(d.First, _ages)),
    "last, of an age": _of_purchases(st.builds(d.Last, _ages)),
    "any after any": _sequences(from_first=False),
    "any after the first": _sequences(from_first=True),
}
busy_facts = st.builds(
    facts_of,
    st.just({}),
    st.lists(st.tuples(_moments, _types, st.fixed_dictionaries({"a": _amounts})), min_size=3, max_size=8),
)
