"""Erasures and exports, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from camino.client.tls import TlsFiles

from services.chassis.app import Resources
from services.chassis.broker import StreamSpec
from services.chassis.clients import open_channel
from services.chassis.clock import Clock
from services.chassis.due import Due
from services.chassis.server import Mounted
from services.profile.domain.rules import Rules
from services.profile.joining import Joining
from services.profile.operations import service
from services.profile.operations.ages import tell_ages
from services.profile.operations.clients import Others
from services.profile.operations.erasing import Erasing
from services.profile.operations.exporting import Exporting
from services.profile.operations.exports import Exports
from services.profile.operations.holding import Holding
from services.profile.operations.leaving import Leaving
from services.profile.operations.operation import Kind
from services.profile.operations.running import Running
from services.profile.operations.traces import Traces
from services.profile.service import ProfileServicer
from services.profile.store import Store

_AT_ONCE = 8
"""Operations of which a replica carries out a step at the same time."""


@asynccontextmanager
async def operations(
    resources: Resources,
    store: Store,
    joining: Joining,
    profiles: ProfileServicer,
    rules: Callable[[str], Rules],
    clock: Clock,
    partitions: int,
    *,
    changes: StreamSpec,
    targets: Mapping[str, str],
    token_file: Path | None,
    tls: TlsFiles | None,
) -> AsyncIterator[tuple[Mounted, Due]]:
    """What is served, and the loop that carries operations out. `changes` is the stream of ProfileChanged, and of
    nothing else; `targets` says where each of the other services is."""
    async with AsyncExitStack() as stack:
        others = Others(
            {
                name: await stack.enter_async_context(open_channel(target, token_file=token_file, tls=tls))
                for name, target in targets.items()
            }
        )
        exports = Exports(store, clock, partitions)
        leaving = Leaving(
            store,
            joining,
            Traces(store, joining),
            exports,
            resources.dead_letters,
            resources.broker,
            resources.publisher,
            changes,
            partitions,
        )
        running = Running(
            store,
            {
                Kind.ERASE: Erasing(store, joining, others, leaving, clock).step,
                Kind.EXPORT: Exporting(store, others, Holding(store, profiles), exports, clock).step,
            },
            clock,
            partitions,
            hint=lambda partition, at: loop.hint(partition, at),
        )
        loop = Due(
            "operations",
            store.operations,
            "due",
            "due_at",
            held=resources.leases.held,
            clock=clock,
            act=running.carry_on,
            limit=_AT_ONCE,
            telemetry=resources.telemetry,
        )
        tell_ages(store, clock, resources.telemetry.metrics)
        servicer = service.OperationServicer(store, running, exports, rules, clock)
        yield service.mounted(servicer), loop
