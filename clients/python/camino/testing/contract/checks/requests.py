"""What requests are taken: every valid one is answered soundly, and each rule that is broken is named."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.testing.contract.answers import Answer
from camino.testing.contract.cases import Case, Cases, Point
from camino.testing.contract.stage import Stage
from camino.testing.contract.target import Target
from camino.testing.schema.mutants import Mutant, mutants
from camino.testing.schema.strategies import messages
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import HypothesisDeprecationWarning
from hypothesis.strategies import SearchStrategy

_VALID = 25
_BROKEN = 2


def cases(point: Point) -> Cases:
    yield Case(str(point), "takes its example", partial(takes_its_example, point))
    yield Case(str(point), "answers what is valid", partial(answers_what_is_valid, point))
    for mutant in mutants(point.rpc.request):
        yield Case(str(point), "refuses", partial(refuses, point, mutant), str(mutant))


def takes_its_example(point: Point, target: Target) -> None:
    stage = Stage(target, point.place)
    target.call(point.rpc, stage.request(point.rpc), place=point.place).must_be_taken()


def answers_what_is_valid(point: Point, target: Target) -> None:
    """Whatever the schema allows is answered, or refused for a declared reason: never with a fault, never unsoundly."""

    def ask(request: Any) -> None:
        answer = target.call(point.rpc, request, place=point.place)
        answer.must_be_sound()
        answer.must(answer.status not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), "a healthy service must answer")

    _each(messages(point.rpc.request, fixed={"workspace_id": target.workspace()}), ask, _VALID)


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
