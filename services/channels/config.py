"""What the channels service is told by its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from services.channels.crash import Point
from services.chassis.config import ServiceConfig


class ChannelsConfig(ServiceConfig):
    email_provider: Literal["log", "smtp", "none"] = "log"
    """What carries emails: `log` only writes messages down, and `none` lets all of them fail."""
    sms_provider: Literal["log", "none"] = "log"
    """What carries text messages; as for emails."""
    push_provider: Literal["log", "none"] = "log"
    """What carries push notifications; as for emails."""
    webhook_provider: Literal["log", "none"] = "log"
    """What calls webhooks; as for emails."""
    log_provider_file: Path | None = None
    """Where the `log` provider writes messages as JSON lines; empty: to the log, without what they say and to whom."""

    email_from: str = Field(default="Camino <camino@localhost>", pattern=r"^[^\r\n]*[^@\s<]+@[^@\s>]+>?$")
    """The mailbox that emails come from when their template names none."""
    smtp_host: str = ""
    """The mail server that emails are handed to."""
    smtp_port: int = Field(default=25, ge=1, le=65535)
    """Its port."""
    smtp_tls: Literal["none", "starttls", "implicit"] = "none"
    """How the connection to it is encrypted: not at all, after STARTTLS, or from its beginning."""
    smtp_username: str = ""
    """Whom to log in as; empty: without logging in."""
    smtp_password: SecretStr = SecretStr("")
    """The password to log in with."""
    smtp_password_file: Path | None = None
    """A file with the password, as Kubernetes mounts secrets; used instead of `smtp_password`."""
    smtp_connections: int = Field(default=20, ge=1, le=1000)
    """How many connections to the mail server each replica opens at most."""
    unsubscribe_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Where one-click unsubscribes go (RFC 8058), before `/<workspace>/<send_id>`; empty: no such header."""

    provider_timeout_seconds: float = Field(default=10, gt=0, le=600)
    """How long to wait for a provider's answer. Without one in time, nobody knows whether it took the message."""
    lease_seconds: float = Field(default=20, ge=1, le=1800)
    """How long a worker has a message to itself. Messages of one that died are taken over after this."""
    ack_wait_seconds: float = Field(default=60, ge=1, le=3600)
    """After how long the broker delivers a request again that wasn't acknowledged."""
    crash_at: Point = ""
    """For fault tests only: where the process kills itself."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.lease_seconds <= self.provider_timeout_seconds:
            raise ValueError("CAMINO_LEASE_SECONDS must be longer than CAMINO_PROVIDER_TIMEOUT_SECONDS")
        if self.email_provider == "smtp" and not self.smtp_host:
            raise ValueError("CAMINO_EMAIL_PROVIDER=smtp needs CAMINO_SMTP_HOST")
        if self.smtp_password_file is not None:
            try:
                self.smtp_password = SecretStr(self.smtp_password_file.read_text().strip())
            except OSError as error:
                raise ValueError(f"CAMINO_SMTP_PASSWORD_FILE can't be read: {error}") from None
        return self
