"""The life of a service's process: `serve` until asked to stop, then drain; or `migrate` and end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol, TypeVar

import structlog

from services.chassis import collector, logging
from services.chassis.app import App, Footing, migrate, open_store
from services.chassis.broker import Broker
from services.chassis.callers_file import CallersError
from services.chassis.callers_watch import WatchedCallers
from services.chassis.clock import Clock, SystemClock
from services.chassis.config import ConfigError, ServiceConfig, load
from services.chassis.errors import CaminoError
from services.chassis.exporting import tracing
from services.chassis.exposition import Exposition
from services.chassis.health import HealthWatch
from services.chassis.loops import Running
from services.chassis.measures import BUILD_INFO, SERVING
from services.chassis.server import Server
from services.chassis.telemetry import Telemetry
from services.chassis.tls import server_credentials
from services.chassis.version import VERSION

log = structlog.get_logger()

C = TypeVar("C", bound=ServiceConfig, contravariant=True)
Done = TypeVar("Done")

_AGAIN_S = 0.1


class Build(Protocol[C]):
    """Puts a service together; see `App`."""

    def __call__(self, config: C, clock: Clock, /, *, telemetry: Telemetry) -> AbstractAsyncContextManager[App]: ...


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
        if command == "migrate":
            return asyncio.run(_migrate(config, what))
        return asyncio.run(_serve(what.name, config, build, callers, clock))
    except (CaminoError, OSError) as error:
        log.error("can't start", error=str(error))
        return 1
    except Exception as error:
        log.critical("ended by a fault", exc_info=error)
        return 1


async def _migrate(config: ServiceConfig, footing: Footing) -> int:
    database = await open_store(footing, config)
    try:
        broker = await Broker.connect(config.nats_url, footing.migration)
        try:
            await migrate(footing, config, database, broker)
        finally:
            await broker.close()
    finally:
        await database.close()
    log.info("migrated")
    return 0


async def _serve(name: str, config: C, build: Build[C], callers: WatchedCallers | None, clock: Clock) -> int:
    """Listen at once, alive but not ready; be ready when the store and the broker have been reached; drain when asked
    to stop, or when only a new process can go on, which the exit status tells."""
    asyncio.get_running_loop().set_exception_handler(logging.unhandled)
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    async with AsyncExitStack() as exits:
        telemetry = Telemetry(tracing=await exits.enter_async_context(tracing(name, config)))
        telemetry.metrics.gauge(BUILD_INFO).labels(name, VERSION).set(1)
        telemetry.metrics.gauge(SERVING).set(0)
        if config.metrics_listen:
            exposition = Exposition(telemetry.metrics)
            log.info("metrics", port=exposition.start(config.metrics_listen))
            exits.push_async_callback(exposition.stop)
        server = Server(callers=callers, credentials=server_credentials(config), telemetry=telemetry)
        exits.push_async_callback(server.stop, 0)
        port = await server.start(config.listen)
        if config.health_listen:
            await server.start_health(config.health_listen)
        address = f"{config.listen.rsplit(':', 1)[0]}:{port}"
        log.info("listening", listen=address)
        app = await _unless(asked_to_stop, exits.enter_async_context(build(config, clock, telemetry=telemetry)))
        if app is None:
            log.info("stopped before it was ready")
            return 0
        server.mount(app.mounted)
        health = HealthWatch(server, app.probes, telemetry.metrics)
        await health.check()
        if callers is None:
            log.warning("open to everybody: CAMINO_CALLERS_FILE names no list of callers")
        running = Running([health, *([callers] if callers else []), *app.loops], telemetry.metrics)
        if config.port_file:
            config.port_file.write_text(str(port))
        collector.spare()
        log.info("ready", listen=address)
        await _any_of(asked_to_stop, health.hopeless)
        log.info("draining")
        await server.stop(config.drain_seconds)
        await running.stop(config.drain_seconds)
    log.info("stopped")
    return 1 if health.hopeless.is_set() else 0


async def _unless(asked_to_stop: asyncio.Event, work: Coroutine[Any, Any, Done]) -> Done | None:
    """What the work comes to; None if we're asked to stop before."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(asked_to_stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    while not working.done():
        # Again and again: until Python 3.12, `wait_for` loses a cancellation that meets the end of what it waits for,
        # such as an attempt to connect.
        working.cancel()
        await asyncio.wait((working,), timeout=_AGAIN_S)
    return None


async def _any_of(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
