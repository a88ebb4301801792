"""The suite against any running servers: `pytest -p camino.testing.contract.plugin --pyargs
camino.testing.contract.test_contract --camino-target HOST:PORT …`, or `camino contract`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from camino.client.tls import TlsFiles
from camino.testing.contract.clearing import clear
from camino.testing.contract.target import Target, Tokens, Unreachable

_REST_S = 1.0
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
    for name, what in (("ca", "who vouches for the servers"), ("cert", "our certificate"), ("key", "its key")):
        group.addoption(f"--camino-tls-{name}", type=Path, metavar="FILE", help=f"TLS: {what}, as PEM.")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Look whether the servers are there: if not, that's one error, and not one for each case."""
    session.config.stash[_LEFT] = []
    try:
        with _target(session.config).open():
            pass
    except Unreachable as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def camino_target(pytestconfig: pytest.Config) -> Iterator[Target]:
    """The servers that the options name. What the suite made on them is deleted at the end, also after Ctrl-C."""
    with _target(pytestconfig).open() as target:
        try:
            yield target
        finally:
            pytestconfig.stash[_LEFT] = clear(target)


def _target(config: pytest.Config) -> Target:
    addresses = config.getoption("--camino-target")
    if not addresses:
        raise pytest.UsageError("say where the services are: --camino-target HOST:PORT, once for each")
    tokens = Tokens(
        config.getoption("--camino-token"),
        config.getoption("--camino-token-without-scopes"),
        config.getoption("--camino-token-elsewhere"),
    )
    return Target(addresses, tokens, rest=lambda: time.sleep(_REST_S), credentials=_credentials(config))


def _credentials(config: pytest.Config) -> grpc.ChannelCredentials | None:
    ca, cert, key = (config.getoption(f"--camino-tls-{name}") for name in ("ca", "cert", "key"))
    if not ca:
        return None
    try:
        return TlsFiles(ca, cert, key).current()
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"the files for TLS: {error}") from None


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """What is left behind makes the run a failed one."""
    if session.config.stash[_LEFT] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
