"""Where the services are, who calls them, and how long a call may take: what both flavours of the client go by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from camino.client.tls import Credentials, TlsFiles
from camino.client.tokens import GivenToken, Token, TokenFile

Service = Literal["profile", "segment", "orchestrator", "channels"]
SERVICES: tuple[Service, ...] = get_args(Service)
PORTS: Mapping[Service, int] = {"profile": 50051, "segment": 50052, "orchestrator": 50053, "channels": 50054}
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Connection:
    targets: Mapping[Service, str]
    """Where each service is, as gRPC names it: `host:port`, `dns:///name:port`, `unix:path`."""
    token: Token | None = None
    credentials: Credentials | None = None
    """None: plaintext."""
    timeout_s: float = TIMEOUT_S
    """How long a call may take that doesn't say so itself."""

    @classmethod
    def of(
        cls,
        given: Mapping[Service, str | None],
        *,
        target: str | None,
        token: str | Path | None,
        credentials: Credentials | None,
        timeout_s: float,
        environment: Mapping[str, str] = os.environ,
    ) -> Connection:
        """What is given, else what the environment says, else what `camino up` listens on. Raises ValueError for a
        token that can't be sent or TLS files that don't fit together, OSError for a file that can't be read."""
        return cls(
            {service: given.get(service) or target or _default(service, environment) for service in SERVICES},
            token_of(token, environment),
            credentials or tls_of(environment),
            timeout_s,
        )


def tls_of(environment: Mapping[str, str]) -> TlsFiles | None:
    """TLS by the files that CAMINO_TLS_CA_FILE, CAMINO_TLS_CERT_FILE and CAMINO_TLS_KEY_FILE name; None without the
    first."""
    ca, cert, key = (environment.get(f"CAMINO_TLS_{name}_FILE") for name in ("CA", "CERT", "KEY"))
    return TlsFiles(Path(ca), Path(cert) if cert else None, Path(key) if key else None) if ca else None


def _default(service: Service, environment: Mapping[str, str]) -> str:
    return environment.get(f"CAMINO_{service.upper()}_TARGET") or f"127.0.0.1:{PORTS[service]}"


def token_of(token: str | Path | None, environment: Mapping[str, str]) -> Token | None:
    """A text is the token itself, a path the file that holds it. None: what the environment says, by CAMINO_TOKEN or
    CAMINO_TOKEN_FILE. An empty text: no token."""
    if token is None:
        token = environment.get("CAMINO_TOKEN", "")
        if not token and (file := environment.get("CAMINO_TOKEN_FILE")):
            token = Path(file)
    if token == "":
        return None
    return TokenFile(token) if isinstance(token, Path) else GivenToken(token)
