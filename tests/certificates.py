"""Authorities and certificates for tests, laid out in directories as Kubernetes mounts them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Mounted:
    """A directory with `ca.crt`, `tls.crt` and `tls.key`, all of which change at once: they're links into a directory
    that is replaced by turning one link."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def cert(self) -> Path:
        return self.directory / "tls.crt"

    @property
    def key(self) -> Path:
        return self.directory / "tls.key"

    def hold(self, trusted: trustme.CA, by: trustme.CA, *, expired: bool = False) -> None:
        """From now on trust this authority, and have a new certificate by that one, for the loopback addresses."""
        now = datetime.now(UTC)
        own = by.issue_cert(
            "127.0.0.1",
            "localhost",
            not_before=now - timedelta(days=2),
            not_after=now + timedelta(days=-1 if expired else 1),
        )
        version = self.directory / f"..{len(list(self.directory.glob('..2*'))) + 20}"
        version.mkdir()
        trusted.cert_pem.write_to_path(version / "ca.crt")
        own.private_key_pem.write_to_path(version / "tls.key")
        for number, blob in enumerate(own.cert_chain_pems):
            blob.write_to_path(version / "tls.crt", append=number > 0)
        turned = self.directory / "..next"
        turned.symlink_to(version.name)
        turned.replace(self.directory / "..data")


def mounted(directory: Path, trusted: trustme.CA, by: trustme.CA, *, expired: bool = False) -> Mounted:
    """A new directory that trusts the one and has a certificate by the other."""
    directory.mkdir()
    found = Mounted(directory)
    found.hold(trusted, by, expired=expired)
    for path in (found.ca, found.cert, found.key):
        path.symlink_to(f"..data/{path.name}")
    return found
