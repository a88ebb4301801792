"""Profiles and events sent in batches, as they come: held back when Camino is behind, sent again when it's away."""

from camino.client.ingestion.clock import Clock
from camino.client.ingestion.ingestion import Ingestion
from camino.client.ingestion.pace import Pace
from camino.client.ingestion.receipt import Receipt

__all__ = ["Clock", "Ingestion", "Pace", "Receipt"]
