"""TLS of a service's own server: a certificate from files that may be replaced while it runs."""

from __future__ import annotations

import grpc
import structlog
from camino.client.tls import Pem, PemFiles, TlsFiles

from services.chassis.config import ServiceConfig

log = structlog.get_logger()


def server_credentials(config: ServiceConfig) -> grpc.ServerCredentials | None:
    """What the server proves itself with, and asks its callers for a certificate by if there's an authority for those;
    None for plaintext. Raises OSError and ValueError for files that can't be used."""
    if config.tls_cert_file is None:
        return None
    files = PemFiles(config.tls_client_ca_file, config.tls_cert_file, config.tls_key_file)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files.current()), _Rotation(files), config.tls_client_ca_file is not None
    )


def calling(config: ServiceConfig) -> TlsFiles | None:
    """What a service calls others with; None for plaintext. Raises OSError and ValueError for files that can't be
    used."""
    if config.tls_ca_file is None:
        return None
    return TlsFiles(config.tls_ca_file, config.tls_cert_file, config.tls_key_file)


class _Rotation:
    """Asked by gRPC at each new connection, in a thread of its own, for another configuration than before. Connections
    that are there go on."""

    def __init__(self, files: PemFiles) -> None:
        self._files = files
        self._pem = files.current()
        self._problem = ""

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        pem = self._files.current()
        if self._files.problem != self._problem:
            self._problem = self._files.problem
            if self._problem:
                log.error("certificate not taken; the one before stays in force", problem=self._problem)
        if pem is self._pem:
            return None
        self._pem = pem
        log.info("certificate read again")
        return _configuration(pem)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.cert)], pem.ca)
