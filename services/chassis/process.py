"""The life of a service's process: `serve` until asked to stop, then drain; or `migrate` and end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import structlog

from services.chassis import logging
from services.chassis.app import App, Footing, migrate, open_store
from services.chassis.broker import Broker
from services.chassis.callers_file import CallersError
from services.chassis.callers_watch import WatchedCallers
from services.chassis.clock import Clock, SystemClock
from services.chassis.config import ConfigError, ServiceConfig, load
from services.chassis.errors import CaminoError
from services.chassis.health import HealthWatch
from services.chassis.loops import Running
from services.chassis.server import Server

log = structlog.get_logger()

C = TypeVar("C", bound=ServiceConfig)
Build = Callable[[C, Clock], AbstractAsyncContextManager[App]]


def main(kind: type[C], footing: Callable[[C], Footing], build: Build[C]) -> int:
    """Run the command on the command line: `serve` (the default) or `migrate`. Returns the exit status."""
    command = sys.argv[1] if len(sys.argv) > 1 else "serve"
    if command not in ("serve", "migrate") or len(sys.argv) > 2:
        sys.stderr.write(f"usage: python -m services.<name> [serve|migrate], not {' '.join(sys.argv[1:])!r}\n")
        return 2
    clock = SystemClock()
    try:
        config = load(kind)
        serving = command == "serve"
        callers = WatchedCallers.open(config.callers_file, clock) if serving and config.callers_file else None
    except (ConfigError, CallersError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    what = footing(config)
    logging.configure(what.name, config.instance, config.log_level)
    try:
        asyncio.run(_migrate(config, what) if command == "migrate" else _serve(config, build, callers, clock))
    except (CaminoError, OSError) as error:
        log.error("can't start", error=str(error))
        return 1
    return 0


async def _migrate(config: ServiceConfig, footing: Footing) -> None:
    database = await open_store(footing, config)
    try:
        broker = await Broker.connect(config.nats_url, footing.name)
        try:
            await migrate(footing, config, database, broker)
        finally:
            await broker.close()
    finally:
        await database.close()
    log.info("migrated")


async def _serve(config: C, build: Build[C], callers: WatchedCallers | None, clock: Clock) -> None:
    asked_to_stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, asked_to_stop.set)
    async with build(config, clock) as app:
        server = Server(app.mounted, callers)
        port = await server.start(config.listen)
        health = HealthWatch(server, app.probes)
        await health.check()
        if callers is None:
            log.warning("open to everybody: CAMINO_CALLERS_FILE names no list of callers")
        running = Running([health, *([callers] if callers else []), *app.loops])
        if config.port_file:
            config.port_file.write_text(str(port))
        log.info("ready", listen=f"{config.listen.rsplit(':', 1)[0]}:{port}")
        await asked_to_stop.wait()
        log.info("draining")
        await server.stop(config.drain_seconds)
        await running.stop(config.drain_seconds)
    log.info("stopped")
