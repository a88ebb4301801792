"""The fake as a server: `async with FakeCamino() as fake:`, or `with`, in a test without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from camino.testing.fake.callers import Caller
from camino.testing.fake.inside import Inside
from camino.testing.serving import Handlers, Served

DELETABLE = "(contract|test|sandbox)-.*"


class FakeCamino(Inside, Served):
    """All of Camino's services on one address, in memory.

    What callers ask for is checked, kept and answered as Camino does: by the same schema, with the same errors, and
    with people told apart by the same rules. Erasures and exports are done as soon as they're asked for. But it decides
    nothing and sends nothing by itself: a segment has the members that `put_member` gives it, an event begins
    the runs of the journeys it triggers and they stay at their first step, campaigns don't start, and messages and
    decisions are those that were put there. What was taken is still there to be looked at when the server has stopped.
    """

    def __init__(
        self,
        *,
        tokens: Iterable[Caller] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        deletable: str = DELETABLE,
        listen: str = "127.0.0.1:0",
    ) -> None:
        """`tokens`: with some, every caller must send one of theirs. `now`: the fake's clock. `deletable`: a regular
        expression for the whole id of workspaces that may be deleted. `listen`: host and port; by default a free port,
        for this machine only."""
        Inside.__init__(self, tokens, now, deletable)
        Served.__init__(self, listen)

    async def handlers(self, exits: AsyncExitStack) -> Handlers:
        return {rpc: self._boundary.handler(rpc, answer) for rpc, answer in self._answers.items()}
