"""Emails as bytes: built by the standard library, which refuses line breaks in headers (RFC 5322) and encodes the rest
(RFC 2045, 2047)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from services.channels.providers.base import Outgoing

# 7bit: not every relay on the way offers 8BITMIME.
_POLICY = SMTP.clone(cte_type="7bit")


def email(message: Outgoing, sender: str, unsubscribe: str, now: int) -> bytes:
    """One email, from a mailbox and at an instant.

    The Message-ID is made of `send_id`: whoever gets two copies knows them for one, and feedback finds its message.
    `unsubscribe` is the address that unsubscribes by POST (RFC 8058), or empty.
    """
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = sender
    mail["To"] = message.endpoint
    mail["Subject"] = message.subject
    mail["Message-ID"] = f"<{message.send_id}@{domain_of(sender)}>"
    mail["Date"] = format_datetime(datetime.fromtimestamp(now / 1_000_000, UTC))
    if unsubscribe:
        mail["List-Unsubscribe"] = f"<{unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(message.text)
    if message.html:
        mail.add_alternative(message.html, subtype="html")
    return mail.as_bytes()


def address_of(mailbox: str) -> str:
    return parseaddr(mailbox)[1]


def domain_of(mailbox: str) -> str:
    return address_of(mailbox).rpartition("@")[2] or "localhost"
