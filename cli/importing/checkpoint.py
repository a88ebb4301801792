"""How far an import has come, kept in a file, so that the next run can go on there."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.importing.records import START, Position


@dataclass(frozen=True, slots=True)
class Subject:
    """What is imported: a position in it means nothing for another."""

    file: str
    """The file's fingerprint."""
    mapping: str
    """The digest of what its rows mean."""
    workspace: str


@dataclass(slots=True)
class Counts:
    taken: int = 0
    duplicates: int = 0
    """Events that had been taken before."""
    rejected: int = 0

    @property
    def rows(self) -> int:
        return self.taken + self.duplicates + self.rejected


@dataclass(frozen=True, slots=True)
class Checkpoint:
    position: Position = START
    """Everything before it was acknowledged, or is among the rejects."""
    counts: Counts = field(default_factory=Counts)
    rejects_bytes: int = 0
    """How much of the file of rejects is about what is before the position."""


class CheckpointError(Exception):
    """The file holds no checkpoint that this import could go on from."""


class CheckpointFile:
    def __init__(self, path: Path, subject: Subject) -> None:
        self.path = path
        self._subject = subject

    def load(self) -> Checkpoint | None:
        """None if there's none. Raises `CheckpointError`, OSError."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            kept = json.loads(text)
            subject = Subject(**kept["subject"])
            found = Checkpoint(Position(**kept["position"]), Counts(**kept["counts"]), kept["rejects_bytes"])
        except (ValueError, TypeError, KeyError):
            raise CheckpointError(f"{self.path} holds no checkpoint") from None
        changed = [name for name, value in asdict(self._subject).items() if value != getattr(subject, name)]
        if changed:
            are = "is not what it was" if len(changed) == 1 else "are not what they were"
            raise CheckpointError(f"the {' and the '.join(changed)} {are} when {self.path} was written")
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """In one step: whenever it's read, it's whole. Raises OSError."""
        kept = {"subject": asdict(self._subject), **asdict(checkpoint)}
        new = self.path.with_name(f"{self.path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
