"""What the segment service is told by its environment."""

from __future__ import annotations

from pydantic import Field, field_validator

from services.chassis.config import ServiceConfig
from services.segment.webhooks.networks import Networks


class SegmentConfig(ServiceConfig):
    webhook_networks: str = "public,private,loopback"
    """Which addresses webhooks may be at, separated by commas: `public`, `private` and `loopback` ones, and networks
    such as `10.1.0.0/16`. Others are refused when they're connected to. Link-local addresses, and those at which clouds
    tell their machines of themselves, are reached only where a network names them."""
    webhook_http: bool = False
    """Whether webhooks may have `http:` URLs. Those on this machine always may."""
    webhook_timeout_seconds: float = Field(default=10, gt=0, le=60)
    """How long a webhook may take to answer. A message that has no answer by then is posted again."""

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        Networks(text.split(","))
        return text
