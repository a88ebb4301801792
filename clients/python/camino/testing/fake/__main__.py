"""`python -m camino.testing.fake --port 50050`: the fake for tests in other languages, until it's told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal

from camino.testing.fake import Caller, FakeCamino


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m camino.testing.fake", description="Serve a fake Camino, in memory."
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; 127.0.0.1 by default")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    parser.add_argument("--token", default="", help="what callers must send; nothing by default")
    asked = parser.parse_args()
    tokens = [Caller("caller", asked.token)] if asked.token else []
    asyncio.run(_serve(FakeCamino(listen=f"{asked.host}:{asked.port}", tokens=tokens)))


async def _serve(fake: FakeCamino) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with fake:
        print(f"a fake Camino serves on {fake.target}", flush=True)
        await stopping.wait()


if __name__ == "__main__":
    main()
