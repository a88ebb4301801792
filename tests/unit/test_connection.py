"""What a connection to NATS tells, and for how long it counts."""

from __future__ import annotations

import pytest
from nats.errors import Error
from structlog.testing import capture_logs

from services.chassis.connection import Connection
from services.chassis.errors import BrokerUnavailable, RestartNeeded

REFUSED = Error('nats: permissions violation for publish to "camino.segment.v1.membershipchanged.shop.1.ana"')


@pytest.fixture
def seconds() -> list[float]:
    return [100.0]


@pytest.fixture
def connection(seconds: list[float]) -> Connection:
    return Connection(lambda: seconds[0])


async def test_a_refusal_is_an_error_with_its_subject_and_counts_for_a_while(
    connection: Connection, seconds: list[float]
) -> None:
    connection.check()
    with capture_logs() as logs:
        await connection.on_error(REFUSED)
    [line] = logs
    assert (line["log_level"], line["operation"]) == ("error", "publish")
    assert line["subject"] == "camino.segment.v1.membershipchanged.shop.1.ana"
    seconds[0] += 29
    with pytest.raises(BrokerUnavailable, match="publish to camino"):
        connection.check()
    seconds[0] += 2
    connection.check()


async def test_a_new_connection_begins_anew(connection: Connection) -> None:
    await connection.on_error(REFUSED)
    await connection.on_reconnect()
    connection.check()


async def test_the_same_trouble_is_told_now_and_then_only(connection: Connection, seconds: list[float]) -> None:
    with capture_logs() as logs:
        for _ in range(50):
            await connection.on_error(OSError("connection refused"))
            seconds[0] += 0.25
        await connection.on_error(OSError("no route to host"))
    assert [line["error"] for line in logs] == ["connection refused", "connection refused", "no route to host"]


async def test_an_end_that_nobody_wanted_is_for_good(connection: Connection) -> None:
    await connection.on_closed()
    with pytest.raises(RestartNeeded):
        connection.check()


async def test_an_end_that_was_wanted_is_none(connection: Connection) -> None:
    with capture_logs() as logs:
        connection.closing()
        await connection.on_disconnect()
        await connection.on_closed()
    connection.check()
    assert logs == []
