"""The token that says who calls: given, or kept in a file that may be replaced while we run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Token(Protocol):
    def current(self) -> str:
        """The token to send now."""
        ...


class GivenToken:
    """Always the same. Raises ValueError if it can't be sent."""

    def __init__(self, text: str) -> None:
        self._text = _checked(text)

    def current(self) -> str:
        return self._text


class TokenFile:
    """The content of a file, without the blanks around it. It's read again when the file has changed, so that a token
    can be replaced without a restart; a file that is away or empty for a moment, as while it's being replaced, changes
    nothing.

    Raises OSError if it can't be read at first, and ValueError if it holds nothing that can be sent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._look()
        self._text = _checked(path.read_text())

    def current(self) -> str:
        try:
            version = self._look()
            if version != self._version:
                self._text = _checked(self._path.read_text())
                self._version = version
        except (OSError, ValueError):
            pass
        return self._text

    def _look(self) -> tuple[int, int, int]:
        """What changes whenever the file is written or replaced, behind symbolic links too: that's how Kubernetes
        replaces the files of a Secret."""
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


def _checked(text: str) -> str:
    token = text.strip()
    # RFC 6750, section 2.1: visible ASCII without blanks. The words of the error don't hold the token.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token is one or more visible ASCII characters without blanks")
    return token
