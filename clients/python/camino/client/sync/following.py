"""Who is in which segment, followed without an end, for the blocking flavour."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from camino.client.following import Following, Told
from camino.segment.v1.segment_service_pb2 import WatchMembershipsRequest


def follow(open_: Callable[[WatchMembershipsRequest], Any], following: Following) -> Iterator[Told]:
    while True:
        call, failure = open_(following.next_request()), None
        try:
            for response in call:
                yield following.take(response)
        except grpc.RpcError as error:
            failure = error
        finally:
            call.cancel()
        time.sleep(following.pause_s(failure))
