"""TLS by files: whose certificates are trusted, and our own. They may be replaced while we run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import grpc


@dataclass(frozen=True, slots=True)
class Pem:
    """The content of the files: certificates of authorities, a certificate (with those up to an authority) and its
    key."""

    ca: bytes | None
    cert: bytes | None
    key: bytes | None


class PemFiles:
    """PEM files that belong together, read again when one has changed. While what they hold doesn't fit together, as
    while they're being replaced, what was read before goes on.

    Raises OSError if one can't be read at first, and ValueError if it isn't PEM, if the key isn't the certificate's, or
    if one of the two is missing.
    """

    def __init__(self, ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> None:
        if (cert is None) != (key is None):
            raise ValueError("a certificate and its key are given together")
        self._ca, self._cert, self._key = ca, cert, key
        self._version = self._look()
        self._pem = self._read()
        self.problem = ""
        """Why the files as they are now were not taken; empty when they were."""

    def current(self) -> Pem:
        """What the files hold: the same object for as long as they do."""
        try:
            version = self._look()
            if version != self._version:
                self._pem = self._read()
                self._version, self.problem = version, ""
        except (OSError, ValueError) as error:
            self.problem = str(error)
        return self._pem

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """What changes whenever a file is written or replaced, behind symbolic links too: that's how Kubernetes
        replaces the files of a Secret."""
        found = [path.stat() for path in (self._ca, self._cert, self._key) if path]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)

    def _read(self) -> Pem:
        ca, cert, key = (path.read_bytes() if path else None for path in (self._ca, self._cert, self._key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The errors of `ssl` don't say which file.
        if ca is not None:
            try:
                context.load_verify_locations(cadata=ca.decode())
            except (ssl.SSLError, ValueError) as error:
                raise ValueError(f"{self._ca} holds no certificates: {error}") from None
        if self._cert and self._key:
            try:
                context.load_cert_chain(self._cert, self._key, password=_no_password)
            except ssl.SSLError as error:
                raise ValueError(f"{self._cert} and {self._key} don't fit together: {error.reason or error}") from None
        return Pem(ca, cert, key)


def _no_password() -> str:
    # Asked for an encrypted key, `ssl` would ask the terminal.
    raise ValueError("the key is encrypted")


class TlsFiles:
    """Calls are encrypted, to services whose certificate is by an authority in the file `ca`. `cert` and `key` are the
    files of our own certificate, for services that ask for one. All are PEM, and read again when they change.

    Raises OSError if a file can't be read, and ValueError if what they hold doesn't fit together.
    """

    def __init__(self, ca: Path, cert: Path | None = None, key: Path | None = None) -> None:
        self._reading = Lock()
        self._files = PemFiles(ca, cert, key)
        self._pem = self._files.current()
        self._credentials = _credentials(self._pem)

    def current(self) -> grpc.ChannelCredentials:
        """Credentials for a new channel: the same object until the files change."""
        with self._reading:
            pem = self._files.current()
            if pem is not self._pem:
                self._pem, self._credentials = pem, _credentials(pem)
            return self._credentials


def _credentials(pem: Pem) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(pem.ca, pem.key, pem.cert)


Credentials = grpc.ChannelCredentials | TlsFiles
"""What encrypts a channel: gRPC's own credentials, which never change, or files."""
