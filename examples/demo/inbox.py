"""A local SMTP server that keeps what it accepts: one JSON line a mail, written before it says yes.

`python -m examples.demo.inbox FILE` prints its port and serves until it's terminated.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """An accepted mail. `at` in seconds since the epoch."""

    at: float
    to: str
    subject: str
    message_id: str
    text: str

    @property
    def send_id(self) -> str:
        """Camino derives the Message-ID from the message's send_id."""
        return self.message_id.strip("<>").partition("@")[0]


class Keeper:
    """aiosmtpd's handler."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message: Any = message_from_bytes(content, policy=policy.default)
        body = message.get_body(("plain",))
        for recipient in envelope.rcpt_tos:
            mail = {
                "at": time.time(),
                "to": recipient,
                "subject": str(message["subject"]),
                "message_id": str(message["message-id"]),
                "text": body.get_content() if body else "",
            }
            self._file.write(json.dumps(mail) + "\n")
        return "250 OK"


def read(path: Path) -> list[Mail]:
    """What is in an inbox's file by now."""
    if not path.exists():
        return []
    return [Mail(**json.loads(line)) for line in path.read_text().splitlines() if line.endswith("}")]


async def serve(path: Path) -> None:
    keeper = Keeper(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(keeper, hostname="localhost", loop=loop), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
