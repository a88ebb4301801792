"""The whole of Camino on one machine: a broker and the four services as child processes, on the embedded store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from camino.client.connection import PORTS, SERVICES
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.ports import free_port

ROOT = Path(__file__).resolve().parent.parent

_START_S = 30.0
_STOP_S = 15.0


class StackError(Exception):
    """The stack can't start, or a part of it ended by itself; the message says which, and shows its last words."""


@dataclass(slots=True)
class Stack:
    """`ports` by service, 0 for free ones; `environment` by service is added to what they're told. With `nats_url` that
    broker is used, else one is started here. Logs are in `data/logs`."""

    data: Path
    ports: dict[str, int] = field(default_factory=lambda: dict(PORTS))
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    nats_url: str = ""
    metrics_ports: dict[str, int] = field(default_factory=dict)
    """Where each service serves its metrics; on free ports if it isn't said."""
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _nats_port: int = 0
    _held: ExitStack = field(default_factory=ExitStack)

    def target(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[service]}"

    def metrics(self, service: str) -> str:
        return f"127.0.0.1:{self.metrics_ports[service]}"

    @property
    def broker(self) -> str:
        return self.nats_url or f"nats://127.0.0.1:{self._nats_port}"

    def pid(self, name: str) -> int:
        """Of a service, or of `nats`."""
        return self._children[name].pid

    def pids(self) -> dict[str, int]:
        """Of all that was started."""
        return {name: child.pid for name, child in self._children.items()}

    def start(self) -> None:
        """Start everything, and return when every service is serving. Raises `StackError`."""
        self.prepare()
        try:
            self.start_broker()
            for name in SERVICES:
                self.start_one(name)
            self.wait_serving()
        except BaseException:
            self.stop()
            raise

    def prepare(self) -> None:
        """Take the ports and make the directories that whatever is started needs."""
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        self.ports = {name: self.ports.get(name, 0) or free_port(self._held) for name in SERVICES}
        self.metrics_ports = {name: self.metrics_ports.get(name, 0) or free_port(self._held) for name in SERVICES}

    def start_broker(self) -> None:
        """Start a broker, unless another one is used. It may not be answering yet when this returns."""
        if not self.nats_url:
            self._nats_port = free_port(self._held)
            self.start_one("nats")

    def start_one(self, name: str) -> None:
        """Start a service, or `nats`, as it was started first."""
        log = (self.data / "logs" / f"{name}.log").open("ab")
        with log:
            self._children[name] = subprocess.Popen(
                self._command(name),
                cwd=ROOT,
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal goes to the whole group: only we are to hear it, and then ask the children to
                # end.
                start_new_session=True,
            )

    def _command(self, name: str) -> list[str]:
        if name != "nats":
            return [sys.executable, "-m", f"services.{name}"]
        server = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if server is None:
            raise StackError("there is no nats-server; install `camino[local]`, or set NATS_URL")
        store = self.data / "nats"
        return [server, "-js", "-sd", str(store), "-a", "127.0.0.1", "-p", str(self._nats_port)]

    def _environment(self, name: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen"), str(ROOT / "clients/python")]),
            "NATS_URL": self.broker,
            "CAMINO_DATA_DIR": str(self.data),
            "CAMINO_MIGRATE_ON_START": "true",
            "CAMINO_LISTEN": self.target(name) if name in self.ports else "",
            "CAMINO_METRICS_LISTEN": self.metrics(name) if name in self.ports else "",
            **{f"CAMINO_{service.upper()}_TARGET": self.target(service) for service in SERVICES},
            **self.environment.get(name, {}),
        }

    def wait_serving(self, *names: str) -> None:
        """Return when these services, or all, are serving. Raises `StackError` when one ends, or isn't in 30 s."""
        until = time.monotonic() + _START_S
        for name in names or SERVICES:
            with grpc.insecure_channel(self.target(name), options=(("grpc.max_reconnect_backoff_ms", 200),)) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                while not _is_serving(health):
                    self.check()
                    if time.monotonic() > until:
                        raise StackError(f"{name} is not serving after {_START_S:.0f} s:\n{self.last_words(name)}")
                    time.sleep(0.05)

    def check(self) -> None:
        """Raise `StackError` if a child has ended by itself."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise StackError(f"{name} ended with status {child.returncode}:\n{self.last_words(name)}")

    def last_words(self, name: str) -> str:
        lines = (self.data / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-8:])

    def wait_ended(self, name: str) -> int:
        """Return the exit status of a child that ends by itself, within 15 s or so. Raises TimeoutExpired."""
        status = self._children[name].wait(_STOP_S)
        del self._children[name]
        return status

    def kill(self, name: str) -> None:
        """Kill -9, as a crash does."""
        child = self._children.pop(name)
        child.kill()
        child.wait()

    def stop_one(self, name: str) -> int:
        """Ask a child to end, and make it if it doesn't. Returns its exit status."""
        child = self._children.pop(name)
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        return child.returncode

    def stop(self) -> None:
        """Stop the services together, then the broker."""
        for name in SERVICES:
            if name in self._children:
                self._children[name].send_signal(signal.SIGTERM)
        for name in (*SERVICES, "nats"):
            if name in self._children:
                self.stop_one(name)
        self._held.close()


def _is_serving(health: health_pb2_grpc.HealthStub) -> bool:
    try:
        reply = health.Check(health_pb2.HealthCheckRequest(), timeout=1)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
