"""Free ports, for servers whose address others must know before they start."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack


def free_port(until: ExitStack) -> int:
    """A loopback port that nobody listens on now, and that no outgoing connection will take before it's used: systems
    give those ports from 32768 on, or higher ones. Nor is it given to anybody else who asks here, in whatever process,
    until that stack is left."""
    while True:
        port = 20_000 + secrets.randbelow(12_768)
        # The UDP port of the same number, which nobody uses, is the sign that it's given away.
        sign = socket.socket(type=socket.SOCK_DGRAM)
        try:
            sign.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            sign.close()
            continue
        until.enter_context(sign)
        return port
