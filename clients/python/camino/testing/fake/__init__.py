"""A fake Camino to test against: all services in one process, in memory, on a real gRPC server.

    async with FakeCamino() as fake:
        await sell_something(camino_target=fake.target)
        [event] = fake.events("shop")
        assert event.type == "purchase"

It keeps the contract as Camino itself does, but decides nothing and sends nothing by itself; see `FakeCamino`. It
needs the extra `testing` of `camino-client`.
"""

from camino.testing.fake.callers import Caller
from camino.testing.fake.fake import FakeCamino

__all__ = ["Caller", "FakeCamino"]
