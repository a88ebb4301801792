"""What became of the records: counted, the rejects written down, and the position kept."""

from __future__ import annotations

from camino.profile.v1.profile_service_pb2 import ITEM_OUTCOME_DUPLICATE

from cli.importing.checkpoint import Checkpoint, CheckpointFile
from cli.importing.pending import Pending
from cli.importing.records import Rejection
from cli.importing.rejects import Rejects


class Ledger:
    """Goes on from a checkpoint. Raises OSError when a file can't be written."""

    def __init__(self, rejects: Rejects, file: CheckpointFile | None, begun: Checkpoint) -> None:
        self.counts = begun.counts
        self._position = begun.position
        self._rejects = rejects
        self._file = file

    def book(self, pending: Pending) -> None:
        """Book all that is settled. Raises what an item failed with that was neither taken nor refused."""
        for record, end in pending.settled():
            if isinstance(end, Rejection):
                self._rejects.add(record, end)
                self.counts.rejected += 1
            elif end.outcome == ITEM_OUTCOME_DUPLICATE:
                self.counts.duplicates += 1
            else:
                self.counts.taken += 1
            self._position = record.after

    def save(self) -> None:
        """Keep the position, after all that it stands for."""
        rejects_bytes = self._rejects.saved()
        if self._file:
            self._file.save(Checkpoint(self._position, self.counts, rejects_bytes))

    def close(self) -> None:
        """The file was read to its end: there's nothing to go on from."""
        self._rejects.saved()
        if self._file:
            self._file.remove()
