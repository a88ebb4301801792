"""A seam for fault tests: the process kills itself at a named point of the send protocol, as `kill -9` would.

Unset, which it always is outside of tests, a point costs one comparison for each batch.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

Point = Literal["", "after-reserve", "after-commit", "after-accept", "after-record"]


def crash(at: Point, here: Point) -> None:
    """Die if this is the point."""
    if at == here:
        os.kill(os.getpid(), signal.SIGKILL)
