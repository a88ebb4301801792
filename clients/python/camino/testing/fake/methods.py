"""Finding a method by its name."""

from __future__ import annotations

from camino.testing.rpcs import Rpc, rpcs


def method(name: str) -> Rpc:
    """The method of a name such as `camino.profile.v1.ProfileService/IngestEvents`. Raises ValueError."""
    for rpc in rpcs():
        if rpc.path.removeprefix("/") == name.removeprefix("/"):
            return rpc
    raise ValueError(f"there is no method {name!r}; name one as in camino.profile.v1.ProfileService/IngestEvents")
