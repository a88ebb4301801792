"""The SMTP provider against a real server: what each reply and each loss of the connection means."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.channels.providers.base import Accepted, Deferred, Outcome, Outgoing, Rejected, Unknown
from services.channels.providers.smtp import SmtpProvider
from services.channels.providers.smtp_pool import Relay
from services.chassis.clock import MILLISECOND, SECOND
from services.chassis.testing import FakeClock
from tests.smtp import SmtpServer, smtp_server


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as running:
        yield running


def outgoing(number: int = 1, **changes: Any) -> Outgoing:
    message = Outgoing(
        "demo", f"send-{number}", f"p{number}@example.com", "Hello", "Hi Ana\n.\nbye\n", "", "", marketing=True
    )
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@asynccontextmanager
async def provider(server: SmtpServer, **changes: Any) -> AsyncIterator[SmtpProvider]:
    relay = changes.pop("relay", Relay("127.0.0.1", server.port))
    made = SmtpProvider(relay, sender="Camino <hello@camino.test>", clock=FakeClock(), **{"connections": 4, **changes})
    try:
        yield made
    finally:
        await made.close()


async def send_one(server: SmtpServer, message: Outgoing | None = None, **changes: Any) -> Outcome:
    async with provider(server, **changes) as smtp:
        [outcome] = await smtp.send([message or outgoing()])
        return outcome


async def test_a_message_is_taken(server: SmtpServer) -> None:
    outcome = await send_one(server, outgoing(html="<p>Hi Ana</p>", subject="Olá, Ana"))
    assert outcome == Accepted("2.0.0 queued as 1")
    [mail] = server.accepted
    assert (mail.sender, mail.recipient) == ("hello@camino.test", "p1@example.com")
    parsed = mail.parsed
    assert parsed["Message-ID"] == "<send-1@camino.test>"
    assert parsed["Subject"] == "Olá, Ana"
    assert parsed["From"] == "Camino <hello@camino.test>"
    assert parsed["To"] == "p1@example.com"
    assert parsed["Date"] == "Sun, 15 Jun 2025 15:06:40 +0000"
    assert "List-Unsubscribe" not in parsed
    assert parsed.get_content_type() == "multipart/alternative"
    text, html = parsed.iter_parts()
    assert text.get_content().splitlines() == ["Hi Ana", ".", "bye"]
    assert html.get_content().strip() == "<p>Hi Ana</p>"


async def test_marketing_can_be_unsubscribed_by_one_click(server: SmtpServer) -> None:
    async with provider(server, unsubscribe_url="https://u.test/out/") as smtp:
        await smtp.send([outgoing(1), outgoing(2, marketing=False)])
    by_recipient = {mail.recipient: mail.parsed for mail in server.accepted}
    assert by_recipient["p1@example.com"]["List-Unsubscribe"] == "<https://u.test/out/demo/send-1>"
    assert by_recipient["p1@example.com"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "List-Unsubscribe" not in by_recipient["p2@example.com"]


async def test_the_template_may_name_the_sender(server: SmtpServer) -> None:
    await send_one(server, outgoing(sender="Ana's Records <ana@records.test>"))
    assert server.accepted[0].sender == "ana@records.test"
    assert server.accepted[0].parsed["Message-ID"] == "<send-1@records.test>"


async def test_connections_are_few_and_used_again(server: SmtpServer) -> None:
    async with provider(server) as smtp:
        assert smtp.batch == 1
        await smtp.send([outgoing(number) for number in range(40)])
        await smtp.send([outgoing(number) for number in range(40, 50)])
    assert len(server.accepted) == 50
    assert server.connections == 4


@pytest.mark.parametrize(
    ("phase", "reply", "expected"),
    [
        ("RCPT", "550 5.1.1 no such user", Rejected("550 5.1.1 no such user", endpoint_invalid=True)),
        ("RCPT", "556 5.1.10 null MX", Rejected("556 5.1.10 null MX", endpoint_invalid=True)),
        ("RCPT", "554 5.7.1 relay denied", Rejected("554 5.7.1 relay denied")),
        ("RCPT", "550 no", Rejected("550 no")),
        ("RCPT", "452 4.2.2 mailbox full", Deferred("452 4.2.2 mailbox full")),
        ("MAIL", "550 5.1.8 bad sender", Rejected("550 5.1.8 bad sender")),
        ("MAIL", "451 4.3.0 later", Deferred("451 4.3.0 later")),
        ("MAIL", "421 4.3.2 going away", Deferred("421 4.3.2 going away")),
        ("DATA", "550 5.1.1 after all", Rejected("550 5.1.1 after all")),
        ("DATA", "554 5.6.0 content", Rejected("554 5.6.0 content")),
        ("DATA", "451 4.7.0 greylisted", Deferred("451 4.7.0 greylisted")),
    ],
)
async def test_replies(server: SmtpServer, phase: Any, reply: str, expected: Outcome) -> None:
    server.replies[phase] = reply
    async with provider(server, connections=1) as smtp:
        assert await smtp.send([outgoing(1)]) == [expected]
        server.replies.clear()
        assert [type(outcome) for outcome in await smtp.send([outgoing(2)])] == [Accepted]
    assert [mail.recipient for mail in server.accepted] == ["p2@example.com"]
    assert server.connections == (2 if reply.startswith("421") else 1)


@pytest.mark.parametrize(
    ("phase", "kind", "accepts"),
    [("MAIL", Deferred, 0), ("RCPT", Deferred, 0), ("DATA", Unknown, 0), ("ACCEPTED", Unknown, 1)],
)
@pytest.mark.parametrize("how", ["hang_up", "stall"])
async def test_losing_the_connection(server: SmtpServer, phase: Any, kind: type, accepts: int, how: str) -> None:
    setattr(server, how, phase)
    async with provider(server, timeout=300 * MILLISECOND) as smtp:
        [outcome] = await smtp.send([outgoing()])
        assert isinstance(outcome, kind)
        assert len(server.accepted) == accepts
        setattr(server, how, None)
        assert [type(outcome) for outcome in await smtp.send([outgoing(2)])] == [Accepted]


async def test_a_relay_that_is_not_there_defers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        relay = Relay("127.0.0.1", taken.getsockname()[1])
        outcome = await send_one(SmtpServer(), relay=relay, timeout=SECOND)
    assert isinstance(outcome, Deferred)
    assert "Error connecting" in outcome.detail


@pytest.mark.parametrize(("password", "kind"), [("right", Accepted), ("wrong", Deferred)])
async def test_a_name_and_password(password: str, kind: type) -> None:
    """A wrong password is about us: no message fails for it."""
    with smtp_server(auth=("camino", "right")) as server:
        relay = Relay("127.0.0.1", server.port, username="camino", password=password)
        assert isinstance(await send_one(server, relay=relay), kind)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "nobody",
        "a@b, c@d",
        "a@b>\r\nRCPT TO:<c@d",
        "a@b c",
        "<a@b>",
        "josé@example.com",
        "a@" + "x" * 70 + ".example",
    ],
)
async def test_what_is_no_address_is_not_sent_to(server: SmtpServer, endpoint: str) -> None:
    outcome = await send_one(server, outgoing(endpoint=endpoint))
    assert isinstance(outcome, Rejected)
    assert outcome.endpoint_invalid
    assert server.greeted == []


async def test_international_domains(server: SmtpServer) -> None:
    await send_one(server, outgoing(endpoint="ana@bücher.example"))
    assert server.accepted[0].recipient == "ana@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text",
    ["Olá, Ana\n", "x" * 5000 + "\n", "é" * 3000 + "\n", ".\n..\n. x\n", "a = b\nFrom x\n", "one\r\ntwo\rthree\n"],
)
async def test_any_text_arrives_as_it_is(server: SmtpServer, text: str) -> None:
    await send_one(server, outgoing(text=text, html=f"<p>{text}</p>", subject=("Ünïcode " * 20).strip()))
    [mail] = server.accepted
    assert max(map(len, mail.content.splitlines())) < 998
    assert mail.content.isascii()
    plain, html = mail.parsed.iter_parts()
    assert plain.get_content().splitlines() == text.splitlines()
    assert html.get_content().strip().startswith("<p>")
    assert mail.parsed["Subject"] == ("Ünïcode " * 20).strip()


@pytest.mark.parametrize("sender", ["Zoë's <zoe@camino.test>", '"Records, Ana" <ana@camino.test>'])
async def test_names_of_senders(server: SmtpServer, sender: str) -> None:
    await send_one(server, outgoing(sender=sender))
    [address] = server.accepted[0].parsed["From"].addresses
    assert address.display_name in ("Zoë's", "Records, Ana")
    assert address.domain == "camino.test"


@pytest.mark.parametrize("subject", ["Hi\r\nBcc: all@example.com", "Hi\nX: y", "Hi\u2028X"])
async def test_no_header_can_be_added(server: SmtpServer, subject: str) -> None:
    outcome = await send_one(server, outgoing(subject=subject))
    assert isinstance(outcome, Rejected)
    assert server.accepted == []
