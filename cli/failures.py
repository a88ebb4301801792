"""What a failed call says, in one line for a person: status, reason, and the fields that were wrong."""

from __future__ import annotations

import grpc
from camino.client import from_rpc_error


def line(error: grpc.RpcError) -> str:
    return str(from_rpc_error(error))
