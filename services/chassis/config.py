"""What a service is told by its environment: one class per service, one error that lists every problem."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Literal, Self, TypeVar

from camino.client.tls import PemFiles
from camino.client.tokens import TokenFile
from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceConfig(BaseSettings):
    """The settings every service has. A field `listen` is the environment's `CAMINO_LISTEN`.

    Those that the environment doesn't tell are looked for in the directory that `CAMINO_SECRETS_DIR` names, each in a
    file named as its variable, as Kubernetes mounts secrets.
    """

    model_config = SettingsConfigDict(
        env_prefix="CAMINO_", extra="ignore", populate_by_name=True, use_attribute_docstrings=True
    )

    listen: str = Field(default="127.0.0.1:0", pattern=r"^.+:\d{1,5}$")
    """Address and port of the gRPC server; port 0 takes a free one."""
    nats_url: str = Field(
        default="nats://127.0.0.1:4222",
        validation_alias=AliasChoices("NATS_URL", "nats_url"),
        pattern=r"^(nats|tls|ws|wss)://.+",
    )
    """The JetStream cluster, several addresses separated by commas."""
    mongodb_uri: str = Field(default="", validation_alias=AliasChoices("MONGODB_URI", "mongodb_uri"))
    """A MongoDB replica set or sharded cluster. Empty: the embedded store in `data_dir`."""
    data_dir: Path = Path("data")
    """Where the embedded store keeps its files."""
    metrics_listen: str = Field(default="", pattern=r"^(.+:\d{1,5})?$")
    """Address and port where Prometheus reads metrics over HTTP; port 0 takes a free one. Empty: they aren't served."""
    otlp_endpoint: str = Field(
        default="",
        validation_alias=AliasChoices("CAMINO_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"),
        pattern=r"^(https?://\S+)?$",
    )
    """The OpenTelemetry collector that traces are sent to, by OTLP over HTTP. Empty: nothing is traced."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    """How many of the traces that begin here are recorded. Those that begin elsewhere are when their beginning is."""
    partitions: int = Field(default=8, ge=1, le=256)
    """Into how many parts profiles are divided between replicas. The same for all services, and for good."""
    instance: str = ""
    """The name of this replica, unique among those that live; made up when empty."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What the log tells of: this, and what is worse."""
    migrate_on_start: bool = False
    """Create collections, streams and consumers at start, instead of by a `migrate` run before."""
    stream_replicas: int = Field(default=1, ge=1, le=5)
    """How many servers of the broker keep each stream that this service publishes to. More than one needs a cluster."""
    deletable_workspaces: str = "(contract|test|sandbox)-.*"
    """A regular expression for the whole id of the workspaces that may be deleted: those of tests and trials."""
    callers_file: Path | None = None
    """Who may call, with which token: see `chassis/callers_file.py`. Read again when it changes. Without it everything
    is allowed to everybody."""
    drain_seconds: float = Field(default=10, gt=0, le=300)
    """How long work in flight may take to finish when the service is asked to stop."""
    token_file: Path | None = None
    """The token that says to other services who calls them. Read again when the file changes."""
    tls_cert_file: Path | None = None
    """This service's certificate, PEM, with those between it and its authority: calls are taken with TLS only, and it's
    shown to those that are called. Read again when it changes, as are the other three."""
    tls_key_file: Path | None = None
    """The certificate's key, unencrypted PEM."""
    tls_client_ca_file: Path | None = None
    """Authorities, PEM: callers must show a certificate by one of them (mutual TLS)."""
    tls_ca_file: Path | None = None
    """Authorities, PEM: other services are called with TLS, and must show a certificate by one of them."""
    health_listen: str = Field(default="", pattern=r"^(.+:\d{1,5})?$")
    """Address and port of a second server, in plaintext and with `grpc.health.v1` only, for those who ask without TLS,
    as Kubernetes' probes do. Empty: none."""
    port_file: Path | None = None
    """Where to write the port that was taken, for whoever started the service on port 0."""

    @field_validator("listen", "metrics_listen", "health_listen")
    @classmethod
    def _has_a_port(cls, listen: str) -> str:
        if listen and int(listen.rpartition(":")[2]) > 65535:
            raise ValueError("the port must be at most 65535")
        return listen

    @field_validator("deletable_workspaces")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @field_validator("token_file")
    @classmethod
    def _holds_a_token(cls, path: Path | None) -> Path | None:
        try:
            if path is not None:
                TokenFile(path)
        except OSError as error:
            raise ValueError(f"can't be read: {error.strerror}") from None
        return path

    @model_validator(mode="after")
    def _has_certificates(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("CAMINO_TLS_CERT_FILE and CAMINO_TLS_KEY_FILE are set together")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("CAMINO_TLS_CLIENT_CA_FILE needs CAMINO_TLS_CERT_FILE and CAMINO_TLS_KEY_FILE")
        for name, files in (
            ("CAMINO_TLS_CERT_FILE and CAMINO_TLS_KEY_FILE", (None, self.tls_cert_file, self.tls_key_file)),
            ("CAMINO_TLS_CLIENT_CA_FILE", (self.tls_client_ca_file, None, None)),
            ("CAMINO_TLS_CA_FILE", (self.tls_ca_file, None, None)),
        ):
            try:
                PemFiles(*files)
            except OSError as error:
                raise ValueError(f"{name}: {error.filename} can't be read: {error.strerror}") from None
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self

    @model_validator(mode="after")
    def _name_instance(self) -> Self:
        # Only one process can hold an embedded store, so its leases are its own again after a crash, without waiting
        # for them to end.
        if not self.instance:
            self.instance = f"{socket.gethostname()}-{os.getpid()}" if self.mongodb_uri else "embedded"
        return self


class ConfigError(Exception):
    """The environment doesn't make a valid configuration; the message lists every problem."""


Config = TypeVar("Config", bound=ServiceConfig)


def load(kind: type[Config]) -> Config:
    """Read the configuration from the environment. Raises `ConfigError` naming every setting at fault."""
    secrets = os.environ.get("CAMINO_SECRETS_DIR") or None
    if secrets and not Path(secrets).is_dir():
        raise ConfigError(f"the configuration has problems:\n  CAMINO_SECRETS_DIR: there is no directory {secrets}")
    try:
        # An argument of pydantic-settings' own, which its generated signatures don't have.
        return kind(_secrets_dir=secrets)  # type: ignore[call-arg]
    except OSError as error:
        raise ConfigError(f"the configuration has problems:\n  CAMINO_SECRETS_DIR: {error}") from None
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            what = problem["msg"].removeprefix("Value error, ")
            if problem["loc"]:
                name = str(problem["loc"][0])
                variable = name if name.isupper() else f"CAMINO_{name.upper()}"
                problems.append(f"  {variable}: {what} (got {_shown(problem['input'])})")
            else:
                # Of settings that don't go together, the input is all settings, passwords among them.
                problems.append(f"  {what}")
        raise ConfigError("the configuration has problems:\n" + "\n".join(problems)) from None


def _shown(value: object) -> str:
    """A setting's value, without the user and password of an address."""
    return re.sub(r"://[^@\s]*@", "://***@", repr(value))
