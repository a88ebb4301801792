"""Real servers for tests, as child processes on free ports, with their data in a directory of their own.

A server is ready when it says so: nothing here sleeps or polls.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pymongo

from cli.ports import free_port

_STARTING_SECONDS = 30.0
_STOPPING_SECONDS = 10.0


class Process:
    """A child process, and what it says on its standard output and error."""

    def __init__(self, command: Sequence[str | Path], directory: Path) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._said: list[str] = []
        self._child = subprocess.Popen(
            list(map(str, command)),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Somebody must read to the end: a full pipe would stop the child.
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def said(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches. Raises RuntimeError when it doesn't come, with what was said instead."""
        with contextlib.suppress(Empty):
            while (line := self._lines.get(timeout=_STARTING_SECONDS)) is not None:
                self._said.append(line)
                if match := re.search(pattern, line):
                    return match
        raise RuntimeError(f"it never said {pattern!r}:\n{''.join(self._said)}")

    def kill(self) -> None:
        """Kill -9, as a crash does."""
        self._child.kill()
        self._reap()

    def stop(self) -> None:
        """Ask it to end, and make it if it doesn't."""
        self._child.terminate()
        try:
            self._child.wait(_STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._reap()

    def _reap(self) -> None:
        self._child.wait()
        self._listening.join()
        assert self._child.stdout is not None
        self._child.stdout.close()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line)
        self._lines.put(None)


class NatsServer:
    """A NATS server with JetStream. It can be killed and started again with its port and its streams."""

    def __init__(self, store: Path, config: Path | None, port: int) -> None:
        self._store = store
        self._config = ["-c", config] if config else []
        self._port = port
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def url_of(self, user: str, password: str) -> str:
        return f"nats://{user}:{password}@127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it accepts connections."""
        command = [binary("nats-server"), "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", self._store]
        process = self._process = Process([*command, *self._config], self._store)
        process.said(r"Server is ready")

    def reload(self) -> None:
        """Have it read its configuration again. Returns when it has."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)
        self._process.said(r"Reloaded server configuration")

    def kill(self) -> None:
        """Kill -9: what it hadn't written is lost."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


@contextlib.contextmanager
def nats_server(config: Path | None = None) -> Iterator[NatsServer]:
    """A started NATS server, with a configuration file if wanted; stopped at the end, whatever happens."""
    with contextlib.ExitStack() as held, tempfile.TemporaryDirectory(prefix="nats-") as directory:
        server = NatsServer(Path(directory), config, free_port(held))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def secantusd(port: int = 0) -> Iterator[str]:
    """The URI of a server that speaks MongoDB's protocol, on this port or on a free one; stopped at the end, whatever
    happens.

    It stands in for a `mongod`, which can't be installed from a package index. Its acknowledged writes are durable only
    with `--sync-on-commit`; retryable writes work, but make it two to three times slower.
    """
    with tempfile.TemporaryDirectory(prefix="secantusd-") as directory, _secantusd(Path(directory), port) as address:
        yield f"mongodb://{address}/?retryWrites=false"


@contextlib.contextmanager
def guarded_secantusd(commands: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The same, but with these commands carried out in its database `admin`, after which it asks for passwords. Gives
    its `host:port`."""
    with tempfile.TemporaryDirectory(prefix="secantusd-") as directory:
        with _secantusd(Path(directory), 0) as address:
            client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(f"mongodb://{address}/?retryWrites=false")
            with client:
                for command in commands:
                    client.admin.command(dict(command))
        with _secantusd(Path(directory), 0, "--auth") as address:
            yield address


@contextlib.contextmanager
def _secantusd(home: Path, port: int, *more: str) -> Iterator[str]:
    options = ["--sync-on-commit", "--log-file-max", "64MB", "--cache-size", "256M", *more]
    command = [binary("secantusd-rs"), "--port", str(port), "--storage-path", home / "data", *options]
    process = Process(command, home)
    try:
        yield process.said(r"listening on (127\.0\.0\.1:\d+)")[1]
    finally:
        process.stop()


def binary(name: str) -> Path:
    """An executable of this Python environment, or else of the path."""
    beside = Path(sys.executable).with_name(name)
    found = beside if beside.exists() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} isn't installed: it comes with the `dev` dependencies")
    return Path(found)
