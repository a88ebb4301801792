"""The stack that `camino up` started last on this machine, as other commands find it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def _file() -> Path:
    """By the XDG Base Directory Specification: what is neither to be configured nor worth a backup."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "camino" / "up.json"


@contextmanager
def recorded(metrics: Mapping[str, str]) -> Iterator[None]:
    """Say where the services of a stack serve their metrics, while it runs."""
    file = _file()
    written = json.dumps({"metrics": dict(metrics)})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(written)
    try:
        yield
    finally:
        # Not what another stack, started since, has written.
        if file.exists() and file.read_text() == written:
            file.unlink()


def metrics() -> dict[str, str]:
    """Where each service serves its metrics; empty when no stack is known."""
    try:
        told = json.loads(_file().read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(address) for name, address in told["metrics"].items()}
