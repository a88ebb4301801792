"""Takes every message and writes it down: for trying things out, and for tests. Nothing leaves the machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import structlog

from services.channels.providers.base import Accepted, Outcome, Outgoing

log = structlog.get_logger()


class LogProvider:
    """One line for each message: in a file of JSON lines if there is a path, else in the log and without what it says
    and to whom."""

    name = "log"
    batch = 500
    timeout = 500_000

    def __init__(self, path: Path | None = None) -> None:
        self._file = path.open("ab") if path else None

    async def send(self, messages: Sequence[Outgoing]) -> list[Outcome]:
        if self._file is None:
            for message in messages:
                log.info("message", workspace=message.workspace_id, send_id=message.send_id)
        else:
            lines = [
                json.dumps(
                    {
                        "workspace": message.workspace_id,
                        "send_id": message.send_id,
                        "to": message.endpoint,
                        "subject": message.subject,
                        "text": message.text,
                        "html": message.html,
                    },
                    ensure_ascii=False,
                )
                for message in messages
            ]
            self._file.write(("\n".join(lines) + "\n").encode())
            self._file.flush()
        accepted = Accepted()
        return [accepted] * len(messages)

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
