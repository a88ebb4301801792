"""Errors in the log: where they come from, and never what anybody sent."""

from __future__ import annotations

import asyncio
import json
import logging as standard
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from services.chassis import logging
from services.chassis.errors import (
    CaminoError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StoreUnavailable,
    Violation,
)
from services.chassis.failures import fields_of, traced, words_of
from services.chassis.tracing import Tracing

MARK = "zq1qz"


def raised(error: BaseException) -> BaseException:
    """The error, with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def caused() -> BaseException:
    try:
        try:
            {}[MARK]
        except KeyError as error:
            raise ValueError(f"no {MARK}") from error
    except ValueError as caught:
        return caught


def grouped() -> BaseException:
    return raised(ExceptionGroup(f"two of {MARK}", [raised(ValueError(MARK)), KeyError(MARK)]))


def in_a_circle() -> BaseException:
    one, two = raised(ValueError(MARK)), raised(KeyError(MARK))
    one.__cause__, two.__cause__ = two, one
    return one


@pytest.mark.parametrize(
    "make",
    [
        lambda: raised(ValueError(MARK)),
        caused,
        grouped,
        in_a_circle,
        lambda: raised(InvalidArgument.at("email", f"{MARK} isn't one")),
        lambda: raised(NotFound.of("profile", MARK)),
        lambda: raised(FailedPrecondition(MARK)),
        lambda: raised(CaminoError(MARK)),
    ],
)
def test_words_that_may_quote_what_came_in_are_not_told(make: Callable[[], BaseException]) -> None:
    error = make()
    assert MARK not in words_of(error)
    told = traced(error)
    assert MARK not in json.dumps(told)
    assert told[0]["type"] == type(error).__name__


def test_where_an_error_comes_from_is_told() -> None:
    last, first = traced(caused())
    assert (last["type"], first["type"]) == ("ValueError", "KeyError")
    assert str(first["frames"]).startswith("['tests/unit/test_failures.py:")
    assert "caused" in str(first["frames"])


@pytest.mark.parametrize(
    "error", [StoreUnavailable("the disk is full"), PermissionDenied("needs scope profiles.read")], ids=repr
)
def test_words_about_machines_and_callers_are_told(error: CaminoError) -> None:
    assert error.message in words_of(error)


def test_the_fields_at_fault_are_told_without_the_keys_that_callers_make_up() -> None:
    error = InvalidArgument(
        "bad", violations=[Violation(f'events[3].properties["{MARK}"].value', MARK), Violation("page_size", MARK)]
    )
    assert fields_of(error) == ['events[3].properties["…"].value', "page_size"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Logging as services have it, at level debug, and the lines that it wrote."""
    stream = StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = standard.getLogger()
    handlers, level = list(root.handlers), root.level
    with structlog.contextvars.bound_contextvars():
        logging.configure("test", "test-1", "debug")
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def test_every_line_is_json_with_who_says_it(written: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().debug("ours", number=1)
    standard.getLogger("theirs").warning("a library's %s", "words")
    standard.getLogger("theirs").info("of no interest")
    ours, theirs = written()
    assert (ours["event"], ours["level"], ours["number"]) == ("ours", "debug", 1)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("a library's words", "warning", "theirs")
    for line in (ours, theirs):
        assert (line["service"], line["instance"]) == ("test", "test-1")
        assert line["timestamp"].endswith("Z")


def test_errors_are_told_without_their_words(written: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().error("failed", exc_info=caused())
    standard.getLogger("theirs").error("failed too", exc_info=caused())
    lines = written()
    assert [line["exception"][0]["type"] for line in lines] == ["ValueError", "ValueError"]
    assert MARK not in json.dumps(lines)


def test_an_error_that_nobody_awaited_is_told_without_its_words(
    written: Callable[[], list[dict[str, Any]]],
) -> None:
    async def forget() -> None:
        async def fail() -> None:
            raise ValueError(MARK)

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logging.unhandled)
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task
        loop.call_soon(_trip)
        await asyncio.sleep(0)

    asyncio.run(forget())
    lines = written()
    assert {line["event"] for line in lines} == {"unhandled"}
    assert MARK not in json.dumps(lines)
    assert {line["exception"][0]["type"] for line in lines} == {"ValueError", "KeyError"}


def _trip() -> None:
    raise KeyError(MARK)


def test_a_line_tells_where_in_a_trace_it_was_said(written: Callable[[], list[dict[str, Any]]]) -> None:
    tracing = Tracing(TracerProvider(shutdown_on_exit=False).get_tracer("test"))
    with tracing.root("work"):
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = written()
    assert len(inside["trace_id"]) == 32
    assert len(inside["span_id"]) == 16
    assert "trace_id" not in outside
