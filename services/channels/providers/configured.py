"""Which provider carries which channel, by configuration."""

from __future__ import annotations

from camino.type.v1 import messaging_pb2

from services.channels.config import ChannelsConfig
from services.channels.providers.base import Provider
from services.channels.providers.log import LogProvider
from services.channels.providers.smtp import SmtpProvider
from services.channels.providers.smtp_pool import Relay
from services.chassis.clock import SECOND, Clock


def providers(config: ChannelsConfig, clock: Clock) -> dict[int, Provider]:
    """By channel. A channel that has none isn't there."""
    chosen = {
        messaging_pb2.CHANNEL_EMAIL: config.email_provider,
        messaging_pb2.CHANNEL_SMS: config.sms_provider,
        messaging_pb2.CHANNEL_PUSH: config.push_provider,
        messaging_pb2.CHANNEL_WEBHOOK: config.webhook_provider,
    }
    made: dict[str, Provider] = {}
    if "log" in chosen.values():
        made["log"] = LogProvider(config.log_provider_file)
    if "smtp" in chosen.values():
        made["smtp"] = SmtpProvider(
            Relay(
                config.smtp_host,
                config.smtp_port,
                config.smtp_tls,
                config.smtp_username,
                config.smtp_password.get_secret_value(),
            ),
            sender=config.email_from,
            clock=clock,
            connections=config.smtp_connections,
            timeout=int(config.provider_timeout_seconds * SECOND),
            unsubscribe_url=config.unsubscribe_url,
        )
    return {int(channel): made[name] for channel, name in chosen.items() if name != "none"}
