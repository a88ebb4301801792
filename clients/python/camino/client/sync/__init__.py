"""The blocking flavour of `camino.client`: the same calls, errors and terms, without an event loop."""

from camino.client.sync.client import Client, connect
from camino.client.sync.paging import pages
from camino.client.sync.sending import Outcome

__all__ = ["Client", "Outcome", "connect", "pages"]
