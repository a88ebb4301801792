"""Emails as bytes (RFC 5322, 2045 to 2047).

Built with the standard library's MIME classes and its older policy: the newer one parses and folds each header anew,
which takes four times as long. That no value can add a header, which the newer one would see to, is seen to here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.charset import QP, Charset
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr

from services.channels.providers.base import Outgoing

_POLICY = compat32.clone(linesep="\r\n")
_LONGEST_LINE = 900
"""RFC 5322 allows 998 bytes."""


def email(message: Outgoing, sender: str, unsubscribe: str, now: int) -> bytes:
    """One email, from a mailbox and at an instant.

    The Message-ID is made of `send_id`: whoever gets two copies knows them for one, and feedback finds its message.
    `unsubscribe` is the address that unsubscribes by POST (RFC 8058), or empty. Raises ValueError for a value that's no
    header.
    """
    text = _part(message.text, "plain")
    mail: Message = text
    if message.html:
        # The best alternative comes last (RFC 2046, 5.1.4).
        mail = MIMEMultipart("alternative", None, (text, _part(message.html, "html")))
        del text["MIME-Version"]
    name, address = parseaddr(sender)
    _add(mail, "From", formataddr((name, address)))
    _add(mail, "To", message.endpoint)
    _add(mail, "Subject", message.subject)
    _add(mail, "Message-ID", f"<{message.send_id}@{domain_of(sender)}>")
    _add(mail, "Date", format_datetime(datetime.fromtimestamp(now / 1_000_000, UTC)))
    if unsubscribe:
        _add(mail, "List-Unsubscribe", f"<{unsubscribe}>")
        _add(mail, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    return mail.as_bytes(policy=_POLICY)


def address_of(mailbox: str) -> str:
    return parseaddr(mailbox)[1]


def domain_of(mailbox: str) -> str:
    return address_of(mailbox).rpartition("@")[2] or "localhost"


def _part(body: str, subtype: str) -> Message:
    part = MIMENonMultipart("text", subtype)
    if body.isascii() and max(map(len, body.splitlines()), default=0) <= _LONGEST_LINE:
        part.set_payload(body, "us-ascii")
    else:
        charset = Charset("utf-8")
        charset.body_encoding = QP
        part.set_payload(body, charset)
    return part


def _add(mail: Message, name: str, value: str) -> None:
    if not value.isprintable():
        raise ValueError(f"{name} must be one line of visible characters")
    mail[name] = value if value.isascii() else Header(value, "utf-8", header_name=name)
