"""kill -9 of the profile service, and of one that it asks, while many people are erased: all of them are in the end."""

from __future__ import annotations

import asyncio
import sqlite3

from camino.profile.v1 import operation_service_pb2 as ops
from camino.profile.v1.operation_pb2 import OPERATION_STATE_DONE, Operation
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub
from camino.profile.v1.profile_pb2 import Identity

from bench.fixture import Measured, measured
from services.chassis.clients import open_channel
from services.chassis.testing import eventually
from tests.faults.retrying import retried

PEOPLE = 30
WORKSPACE = "forget"


async def erase(operations: OperationServiceStub, number: int) -> str:
    identity = Identity(namespace="email", value=f"{WORKSPACE}-{number}@example.com")
    request = ops.EraseProfileRequest(workspace_id=WORKSPACE, identity=identity)
    return (await retried(lambda: operations.EraseProfile(request))).operation.operation_id


async def all_of(operations: OperationServiceStub) -> list[Operation]:
    request = ops.ListOperationsRequest(workspace_id=WORKSPACE, page_size=1000)
    return list((await retried(lambda: operations.ListOperations(request))).operations)


def kept(stack: Measured) -> dict[str, int]:
    """In how many rows of each service's database an address is. They're stopped."""
    found = {}
    for name in stack.stack.ports:
        connection = sqlite3.connect(stack.stack.data / f"{name}.db")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for table in tables for row in connection.execute(f'SELECT * FROM "{table}"')]
        connection.close()
        cells = [cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row]
        found[name] = sum(b"@example.com" in cell for cell in cells)
    return found


async def test_everybody_is_erased_whoever_is_killed_meanwhile() -> None:
    async with measured() as stack:
        await stack.people(WORKSPACE, PEOPLE)
        await stack.publish(WORKSPACE)
        await stack.events(WORKSPACE, "p", range(PEOPLE), "purchase")
        await stack.events(WORKSPACE, "s", range(PEOPLE), "signup")
        await stack.wait_accepted(PEOPLE)
        async with open_channel(stack.stack.target("profile")) as channel:
            operations = OperationServiceStub(channel)
            begun = {await erase(operations, number) for number in range(PEOPLE)}
            for victim in ("profile", "segment", "profile", "channels", "profile"):

                async def further(before: int) -> bool:
                    return sum(len(one.receipts) for one in await all_of(operations)) > before

                before = sum(len(one.receipts) for one in await all_of(operations))
                if before < 4 * PEOPLE:
                    await eventually(lambda before=before: further(before), within_s=70)
                stack.stack.kill(victim)
                stack.stack.start_one(victim)
                await asyncio.to_thread(stack.stack.wait_serving)

            async def done() -> bool:
                found = await all_of(operations)
                return all(one.state == OPERATION_STATE_DONE for one in found)

            # What died with its claim goes on when that has ended.
            await eventually(done, within_s=150, every_s=0.05)
            ended = await all_of(operations)
            assert {one.operation_id for one in ended} == begun
            assert all(len(one.receipts) == 4 for one in ended)
        for name in stack.stack.ports:
            stack.stack.stop_one(name)
        assert kept(stack) == dict.fromkeys(stack.stack.ports, 0)
