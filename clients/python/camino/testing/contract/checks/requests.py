"""What requests are taken: every valid one is answered soundly, and each rule that is broken is named."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Answer
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.checks.effects import must_be_about_it
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target
from camino.testing.schema.mutants import Mutant, mutants
from camino.testing.schema.strategies import messages
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import HypothesisDeprecationWarning
from hypothesis.strategies import SearchStrategy

_VALID = 25
_BROKEN = 2


def cases(point: Point) -> Cases:
    yield Case(str(point), "takes its example", partial(takes_its_example, point))
    yield Case(str(point), "answers what is valid", partial(answers_what_is_valid, point))
    yield Case(str(point), "answers what is valid of what is there", partial(answers_of_what_is_there, point))
    if point.rpc.items_field:
        yield Case(str(point), "tells of each item in its place", partial(tells_of_each_item, point))
    for mutant in mutants(point.rpc.request):
        yield Case(str(point), "refuses", partial(refuses, point, mutant), str(mutant))


def takes_its_example(point: Point, target: Target) -> None:
    stage = Stage(target, point.place)
    answer = target.call(point.rpc, stage.request(point.rpc), place=point.place)
    answer.must_be_taken()
    must_be_about_it(answer)


def answers_what_is_valid(point: Point, target: Target) -> None:
    """Whatever the schema allows is answered, or refused for a declared reason: never with a fault, never unsoundly."""
    _answers(point, target, {"workspace_id": target.workspace()})


def answers_of_what_is_there(point: Point, target: Target) -> None:
    """The same of requests that name something that is there, as the example does."""
    stage = Stage(target, point.place)
    request = stage.request(point.rpc)
    named = {field.name: value for field, value in request.ListFields() if field.name.endswith(("_id", "_ids"))}
    unset = {name: "" for name in ("etag", "page_token", "cursor") if point.rpc.has(name)}
    _answers(point, target, {**named, **unset})


def _answers(point: Point, target: Target, fixed: Mapping[str, object]) -> None:
    def ask(request: Any) -> None:
        answer = target.call(point.rpc, request, place=point.place)
        answer.must_be_sound()
        answer.must(answer.status not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), "a healthy service must answer")

    _each(messages(point.rpc.request, fixed=fixed), ask, _VALID)


def tells_of_each_item(point: Point, target: Target) -> None:
    """Results stand in the order of the items, and one that fails keeps no other from being taken."""
    request = Stage(target, point.place).request(point.rpc)
    items = getattr(request, point.rpc.items_field)
    good = items[0]
    broken = type(good)()
    del items[1:]
    items.insert(0, broken)
    items.append(broken)
    answer = target.call(point.rpc, request, place=point.place)
    failed = [result.HasField("error") for result in answer.must_be_ok().results]
    answer.must(failed == [True, False, True], "the first and the last item must fail, and the one between be taken")


def refuses(point: Point, mutant: Mutant, target: Target) -> None:
    """A request that breaks this one rule is refused before it reaches the servicer, the field is named, and nothing
    has changed."""
    rpc = point.rpc
    item = rpc.items_field and mutant.field.startswith(f"{rpc.items_field}[0]")

    def ask(request: Any) -> None:
        if rpc.has("workspace_id") and mutant.field != "workspace_id":
            request.workspace_id = target.untouched
        if item:
            del getattr(request, rpc.items_field)[1:]
        before, entered = target.state(), target.insight and target.insight.entered(rpc)
        answer = target.call(rpc, request, place=point.place)
        if item:
            _must_refuse_item(answer, mutant.field.removeprefix(f"{rpc.items_field}[0]").removeprefix("."))
        else:
            answer.must_fail("INVALID_ARGUMENT", reason_pb2.REASON_INVALID_FIELD)
            named = [field for field, _ in answer.violations]
            answer.must(mutant.field in named, f"the violations must name {mutant.field}")
            answer.must(
                not target.insight or target.insight.entered(rpc) == entered, "must not be let into the servicer"
            )
        answer.must(target.state() == before, "a refused request must change nothing")

    _each(mutant.broken, ask, _BROKEN)


def _must_refuse_item(answer: Answer, field: str) -> None:
    [result] = answer.must_be_ok().results
    error = result.error
    answer.must(error.reason == reason_pb2.REASON_INVALID_FIELD, "the item must fail with INVALID_FIELD")
    answer.must(error.field == field, f"the item's error must name {field}")
    answer.must(bool(error.message), "the item's error must say in words what is wrong")


def _each(strategy: SearchStrategy[Any], ask: Any, examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        # Which of the suite's lines were run says nothing of the server.
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(request: Any) -> None:
        ask(request)

    with warnings.catch_warnings():
        # Where the servers live on another thread of this process, they may use `random` while a message is drawn;
        # hypothesis would blame the strategy for it.
        warnings.simplefilter("ignore", HypothesisDeprecationWarning)
        run()
