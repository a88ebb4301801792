"""What a service is told by its environment: one class per service, one error that lists every problem."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Literal, Self, TypeVar

from camino.client.tokens import TokenFile
from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceConfig(BaseSettings):
    """The settings every service has. A field `listen` is the environment's `CAMINO_LISTEN`.

    Those that the environment doesn't tell are looked for in the directory that `CAMINO_SECRETS_DIR` names, each in a
    file named as its variable, as Kubernetes mounts secrets.
    """

    model_config = SettingsConfigDict(env_prefix="CAMINO_", extra="ignore", populate_by_name=True)

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
    partitions: int = Field(default=8, ge=1, le=256)
    """Into how many parts profiles are divided between replicas. The same for all services, and for good."""
    instance: str = ""
    """The name of this replica, unique among those that live; made up when empty."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
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
    port_file: Path | None = None
    """Where to write the port that was taken, for whoever started the service on port 0."""

    @field_validator("listen")
    @classmethod
    def _has_a_port(cls, listen: str) -> str:
        if int(listen.rpartition(":")[2]) > 65535:
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
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            variable = name if name.isupper() else f"CAMINO_{name.upper()}"
            what = problem["msg"].removeprefix("Value error, ")
            problems.append(f"  {variable}: {what} (got {_shown(problem['input'])})")
        raise ConfigError("the configuration has problems:\n" + "\n".join(problems)) from None


def _shown(value: object) -> str:
    """A setting's value, without the user and password of an address."""
    return re.sub(r"://[^@\s]*@", "://***@", repr(value))
