"""A client of Camino: `async with connect() as client:` gives stubs of all its APIs, with deadlines, retries, errors
and tokens taken care of. `camino.client.sync` is the same without an event loop."""

from camino.client.client import Client, connect
from camino.client.errors import CaminoError, Violation, from_rpc_error
from camino.client.following import Told
from camino.client.ids import derived_event_id, new_event_id
from camino.client.ingestion import Ingestion, Pace, Receipt
from camino.client.items import ItemFailed, failed_items, raise_failed_items
from camino.client.paging import pages
from camino.client.tls import TlsFiles
from camino.errors.v1.reason_pb2 import Reason

__all__ = [
    "CaminoError",
    "Client",
    "Ingestion",
    "ItemFailed",
    "Pace",
    "Reason",
    "Receipt",
    "TlsFiles",
    "Told",
    "Violation",
    "connect",
    "derived_event_id",
    "failed_items",
    "from_rpc_error",
    "new_event_id",
    "pages",
    "raise_failed_items",
]
