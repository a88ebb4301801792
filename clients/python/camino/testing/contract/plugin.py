"""The suite against any running servers: `pytest -p camino.testing.contract.plugin --pyargs
camino.testing.contract.test_contract --camino-target HOST:PORT …`, or `camino contract`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from camino.testing.contract.clearing import clear
from camino.testing.contract.target import Target, Tokens, Unreachable

_OPEN = pytest.StashKey[ExitStack]()
_TARGET = pytest.StashKey[Target]()
_LEFT = pytest.StashKey[list[str]]()
"""What may be left of the suite's workspaces, and why."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("camino", "Camino's contract")
    group.addoption(
        "--camino-target", action="append", default=[], metavar="HOST:PORT", help="Where services are; repeatable."
    )
    group.addoption("--camino-token", default="", help="A token with all scopes for the workspaces contract-*.")
    group.addoption("--camino-token-without-scopes", default="", help="A token that has no scope of Camino's.")
    group.addoption("--camino-token-elsewhere", default="", help="A token with all scopes for some other workspace.")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Connect, so that servers that aren't there are one error, and not one for each case."""
    config = session.config
    config.stash[_LEFT] = []
    config.stash[_OPEN] = ExitStack()
    addresses = config.getoption("--camino-target")
    if not addresses:
        raise pytest.UsageError("say where the services are: --camino-target HOST:PORT, once for each")
    tokens = Tokens(
        config.getoption("--camino-token"),
        config.getoption("--camino-token-without-scopes"),
        config.getoption("--camino-token-elsewhere"),
    )
    try:
        config.stash[_TARGET] = config.stash[_OPEN].enter_context(Target(addresses, tokens).open())
    except Unreachable as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def camino_target(pytestconfig: pytest.Config) -> Iterator[Target]:
    """The servers that the options name. What the suite made on them is deleted at the end."""
    target = pytestconfig.stash[_TARGET]
    try:
        yield target
    finally:
        pytestconfig.stash[_LEFT] = clear(target)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """What was proved of each service, what could not be and why, and what is left behind."""
    counts: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            subject = dict(report.user_properties).get("subject", "")
            if subject:
                counts.setdefault(subject, Counter())[outcome] += 1
            if outcome == "skipped" and isinstance(report.longrepr, tuple):
                reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
    terminalreporter.section("contract")
    for subject, found in sorted(counts.items()):
        line = f"{subject:<64} {found['passed']:>5} kept"
        line += f" {found['failed'] + found['error']:>4} broken" if found["failed"] + found["error"] else ""
        line += f" {found['skipped']:>4} out of reach" if found["skipped"] else ""
        terminalreporter.line(line, red=bool(found["failed"] or found["error"]))
    for reason, number in reasons.most_common():
        terminalreporter.line(f"out of reach ({number}): {reason}")
    for left in config.stash[_LEFT]:
        terminalreporter.line(f"left behind: {left}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What is left behind makes the run a failed one."""
    session.config.stash[_OPEN].close()
    if session.config.stash[_LEFT] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
