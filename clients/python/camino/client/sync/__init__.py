"""The blocking flavour of `camino.client`: the same calls, errors and terms, without an event loop."""

from camino.client.sync.client import Client, connect
from camino.client.sync.paging import pages

__all__ = ["Client", "connect", "pages"]
