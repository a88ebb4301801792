"""The whole stack with the users that are shipped, at the broker and at the store: each can do its work, and only
that."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from camino.client import Client, connect
from camino.ops.v1 import workspace_service_pb2
from pymongo.errors import OperationFailure

from cli.stack import ROOT, SERVICES, Stack
from deploy.permissions.nats import passwords
from tests import greeting
from tests.servers import NatsServer, guarded_secantusd, nats_server

AUTHORIZATION = ROOT / "deploy/k8s/components/stores-inside/authorization.conf"
ROLES: list[dict[str, Any]] = json.loads((ROOT / "deploy/mongodb/roles.json").read_text())
USERS = [role["createRole"].removeprefix("camino-") for role in ROLES]
_UNAUTHORIZED = 13
WORKSPACE = "test-privilege"
"""One that may be deleted."""


def password(user: str) -> str:
    return f"secret-of-{user}"


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    settings = tmp_path / AUTHORIZATION.name
    settings.write_text(AUTHORIZATION.read_text())
    (tmp_path / "passwords.conf").write_text(passwords({user: password(user) for user in USERS}))
    with nats_server(settings) as server:
        yield server


@pytest.fixture
def mongodb() -> Iterator[str]:
    users = [
        {"createUser": user, "pwd": password(user), "roles": [{"role": role["createRole"], "db": "admin"}]}
        for user, role in zip(USERS, ROLES, strict=True)
    ]
    with guarded_secantusd([*ROLES, *users]) as address:
        yield address


def told(nats: NatsServer, mongodb: str, user: str) -> dict[str, str]:
    return {
        "NATS_URL": nats.url_of(user, password(user)),
        "MONGODB_URI": f"mongodb://{user}:{password(user)}@{mongodb}/?retryWrites=false",
        "CAMINO_MIGRATE_ON_START": "false",
    }


async def migrated(nats: NatsServer, mongodb: str) -> None:
    """Run all migrations, each as its own user."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "gen"), str(ROOT / "clients/python")])

    def run(name: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": path, **told(nats, mongodb, f"{name}-migrate")}
        command = [sys.executable, "-m", f"services.{name}", "migrate"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    for result in await asyncio.gather(*(asyncio.to_thread(run, name) for name in SERVICES)):
        assert result.returncode == 0, result.stderr
        assert "not allowed" not in result.stderr


@asynccontextmanager
async def serving(directory: Path, nats: NatsServer, mongodb: str) -> AsyncIterator[tuple[Stack, Client]]:
    environment = {name: told(nats, mongodb, name) for name in SERVICES}
    environment["channels"]["CAMINO_LOG_PROVIDER_FILE"] = str(directory / "sent.jsonl")
    stack = Stack(directory, dict.fromkeys(SERVICES, 0), environment, nats_url=nats.url)
    await asyncio.to_thread(stack.start)
    try:
        async with connect(**{name: stack.target(name) for name in SERVICES}) as client:
            yield stack, client
    finally:
        stack.stop()


async def test_each_service_can_do_its_work(tmp_path: Path, nats: NatsServer, mongodb: str) -> None:
    await migrated(nats, mongodb)
    async with serving(tmp_path, nats, mongodb) as (stack, client):
        await greeting.publish(client, WORKSPACE)
        for person in ("ana", "bea"):
            await greeting.signup(client, WORKSPACE, person)
        await greeting.greeted(tmp_path / "sent.jsonl", "ana", "bea")
        for name in ("orchestrator", "channels", "segment", "profile"):
            request = workspace_service_pb2.DeleteWorkspaceRequest(workspace_id=WORKSPACE)
            deleted = await client.workspaces(name).DeleteWorkspace(request)
            assert deleted.deleted_documents > 0
        await asyncio.to_thread(stack.wait_serving)
        logs = {name: (tmp_path / "logs" / f"{name}.log").read_text() for name in SERVICES}
        for name, log in logs.items():
            lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
            assert [line for line in lines if line["level"] == "error" or "authorized" in str(line)] == [], name


@pytest.mark.parametrize("user", USERS)
def test_a_store_user_does_its_own_work_and_no_other(user: str, mongodb: str) -> None:
    service, _, migrates = user.partition("-")
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        f"mongodb://{user}:{password(user)}@{mongodb}/?retryWrites=false"
    )

    def allowed(database: str, command: dict[str, Any]) -> bool:
        try:
            client[database].command(command)
        except OperationFailure as error:
            if error.code != _UNAUTHORIZED:
                raise
            return False
        return True

    documents: list[dict[str, Any]] = [
        {"find": "things"},
        {"insert": "things", "documents": [{"_id": 1}]},
        {"update": "things", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a": 1}}}]},
        {"delete": "things", "deletes": [{"q": {"_id": 1}, "limit": 1}]},
    ]
    shapes: list[dict[str, Any]] = [
        {"create": f"made-by-{user}"},
        {"createIndexes": f"made-by-{user}", "indexes": [{"key": {"a": 1}, "name": "a"}]},
        # Not `collMod`, which the stand-in for a mongod doesn't ask permission for.
    ]
    neither: list[dict[str, Any]] = [
        {"drop": "things"},
        {"dropDatabase": 1},
        {"createUser": "more", "pwd": "x", "roles": []},
    ]
    with client:
        for database in SERVICES:
            own = database == service
            assert [allowed(database, command) for command in documents] == [own and not migrates] * len(documents)
            assert [allowed(database, command) for command in shapes] == [own and bool(migrates)] * len(shapes)
            assert not any(allowed(database, command) for command in neither)
