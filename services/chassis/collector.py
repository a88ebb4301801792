"""Python's garbage collector, told what a service is like."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 50_000


def spare() -> None:
    """Let it pass over what is there by now, which stays for good, and look at what is new only once a batch or so.

    A batch of documents is some tens of thousands of objects, none of them garbage before all is done: by Python's
    defaults it's looked through dozens of times, and all that was imported now and then too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
