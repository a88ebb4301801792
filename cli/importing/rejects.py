"""The file of what wasn't taken: NDJSON, in the order of the imported file, with everything needed to mend it."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO, Self

from cli.importing.records import Record, Rejection

_OWNER_ONLY = 0o600
"""The rows are about people."""


class AlreadyRunning(Exception):
    """Another import has this file of rejects in hand."""


class Rejects:
    """The file, while one import has it: `with Rejects(path) as rejects:`. Raises OSError, and `AlreadyRunning`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _locked(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A file with nothing in it goes."""
        self._file.flush()
        if os.fstat(self._file.fileno()).st_size == 0:
            self._path.unlink(missing_ok=True)
        self._file.close()

    def cut(self, at: int) -> None:
        """Keep at most so many bytes of what is there, and go on after them."""
        self._file.truncate(min(at, os.fstat(self._file.fileno()).st_size))
        self._file.seek(0, os.SEEK_END)

    def add(self, record: Record, rejection: Rejection) -> None:
        line = {
            "line": record.line,
            "reason": rejection.reason,
            "field": rejection.field,
            "message": rejection.message,
            "row": record.text,
        }
        self._file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def saved(self) -> int:
        """Bring everything to the disk. How many bytes that is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()


def _locked(path: Path) -> BinaryIO:
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                os.fchmod(file.fileno(), _OWNER_ONLY)
                return file
        except BlockingIOError:
            file.close()
            raise AlreadyRunning(f"another import writes {path}") from None
        except FileNotFoundError:
            # Whoever had it removed it after it was opened here.
            pass
        file.close()
