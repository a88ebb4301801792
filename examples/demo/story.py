"""The story that the demo plays: each act does something with Camino, shows what came of it, and checks it."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from camino.orchestrator.v1 import campaign_pb2
from camino.segment.v1 import segment_pb2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.demo import inbox
from examples.demo.api import Api, batches
from examples.demo.cohort import Customer, Purchase

_JOURNEY_WAIT_S = 3.0
_PATIENCE_S = 90.0


class Disappointed(Exception):
    """Something didn't come out as it should."""


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise Disappointed(what)


class Story:
    def __init__(self, api: Api, customers: list[Customer], mails: Path, console: Console) -> None:
        self._api = api
        self._customers = customers
        self._mails = mails
        self._console = console
        self._by_email = {customer.email: customer for customer in customers}

    def load(self) -> None:
        purchases = [(customer, purchase) for customer in self._customers for purchase in customer.purchases]
        began = time.monotonic()
        with _progress(self._console) as progress:
            people = progress.add_task("profiles", total=len(self._customers))
            for batch in batches(self._customers, 250):
                progress.advance(people, len(self._api.ingest_profiles(batch)))
            history = progress.add_task("purchases", total=len(purchases))
            for batch in batches(purchases, 500):
                progress.advance(history, len(self._api.ingest_purchases(batch)))
        took = time.monotonic() - began
        self._console.print(f"{len(self._customers) + len(purchases):,} items, each durable, in {took:.1f} s")

    def segments(self) -> None:
        """Compare what Camino found with a plain count over the file."""
        table = Table("segment", "members", "plain count over the file")
        now = datetime.now(UTC)
        for segment_id, expected in (
            ("loyal", sum(customer.is_loyal() for customer in self._customers)),
            ("lapsed", sum(customer.is_lapsed(now) for customer in self._customers)),
        ):
            segment = self._until(lambda s=segment_id, n=expected: self._settled(s, n), f"segment {segment_id}")
            table.add_row(segment.definition.display_name, f"{segment.member_count:,}", f"{expected:,}")
        self._console.print(table)

    def _settled(self, segment_id: str, expected: int) -> segment_pb2.Segment | None:
        segment = self._api.segment(segment_id)
        ready = segment.state == segment_pb2.SEGMENT_STATE_READY and segment.member_count == expected
        return segment if ready else None

    def purchases(self) -> None:
        """A few people buy again; each gets the mail for who they are by then."""
        fresh = [customer for customer in self._customers if len(customer.purchases) < 3][:6]
        loyal = [customer for customer in self._customers if customer.is_loyal()][:6]
        sent: dict[str, float] = {}
        for number, customer in enumerate([*fresh, *loyal]):
            purchase = Purchase(f"new-{number}", datetime.now(UTC), number % 4 + 1, 12.5 * (number % 4 + 1))
            sent[customer.email] = time.time()
            self._api.ingest_purchases([(customer, purchase)])
            customer.purchases.append(purchase)
        # The first purchase once more, as a careless client would.
        again = self._api.ingest_purchases([(fresh[0], fresh[0].purchases[-1])])
        _expect(again == ["ITEM_OUTCOME_DUPLICATE"], f"a repeated event was answered {again}")
        self._console.print("12 purchases sent, one of them twice (answered DUPLICATE); the journey waits 3 s …")
        mails = self._until(lambda: self._arrived(sent), "the mails")
        table = Table("to", "purchases", "subject", "event → SMTP accept, beyond the wait")
        for mail in sorted(mails, key=lambda mail: mail.at):
            bought = str(len(self._by_email[mail.to].purchases))
            table.add_row(mail.to, bought, mail.subject, f"{(mail.at - sent[mail.to] - _JOURNEY_WAIT_S) * 1000:.0f} ms")
            loyal_mail = "best customers" in mail.subject
            _expect(loyal_mail == self._by_email[mail.to].is_loyal(), f"{mail.to} got the wrong mail")
        self._console.print(table)
        self._console.print("the last of them:\n" + "\n".join(f"  {line}" for line in mails[-1].text.splitlines()))

    def _arrived(self, sent: dict[str, float]) -> list[inbox.Mail] | None:
        mails = [mail for mail in inbox.read(self._mails) if mail.to in sent]
        return mails if len(mails) >= len(sent) else None

    def schedule(self, campaign_id: str, rate: float) -> int:
        """Schedule the win-back for everyone who has lapsed; how many that is."""
        members = self._api.segment("lapsed").member_count
        at = datetime.now(UTC) + timedelta(seconds=3)
        self._api.schedule_campaign(campaign_id, "lapsed", "win-back", at, rate)
        self._console.print(f"{members:,} people have lapsed; starts at {at:%H:%M:%S} UTC, at {rate:.0f} a second")
        return int(members)

    def watch(self, campaign_id: str, until: float = 1.0) -> campaign_pb2.Campaign:
        """Show a campaign's progress until this part of it has ended, or all is done."""
        with _progress(self._console) as progress:
            task = progress.add_task("people done", total=None)
            began, before, shown = time.monotonic(), -1, -1
            while True:
                campaign = self._api.campaign(campaign_id)
                occurrence = campaign.occurrence
                sent = occurrence.ended.get("sent", 0)
                ended = sum(occurrence.ended.values()) + sum(occurrence.dropped.values())
                progress.update(task, completed=ended, total=occurrence.total or None)
                if sent != shown:
                    shown, before = sent, time.monotonic()
                done = campaign.state == campaign_pb2.CAMPAIGN_STATE_COMPLETED
                if done or (until < 1 and occurrence.total and sent >= until * occurrence.total):
                    return campaign
                if time.monotonic() - before > 30 and time.monotonic() - began > 30:
                    raise Disappointed(f"campaign {campaign_id} stands still at {sent} of {occurrence.owed}")
                time.sleep(0.1)

    def resolve_unknown(self) -> int:
        """Look into the inbox for each message that was with the SMTP server when a process died, and say what became
        of it."""
        arrived = {mail.send_id for mail in inbox.read(self._mails)}
        parked = self._api.unknown_messages()
        sent = sum(message.send_id in arrived for message in parked)
        for message in parked:
            self._api.resolve(message.send_id, sent=message.send_id in arrived)
        if parked:
            self._console.print(
                f"{len(parked)} messages were with the SMTP server when the process died. Camino doesn't guess: it "
                f"parked them as UNKNOWN. The inbox has {sent} of them (resolved as sent); the other "
                f"{len(parked) - sent} were sent again."
            )
        return len(parked)

    def settle(self, campaign_id: str) -> None:
        """Wait until what was sent again has arrived."""
        owed = self._api.campaign(campaign_id).occurrence.owed

        def arrived() -> bool | None:
            return sum("we miss you" in mail.subject for mail in inbox.read(self._mails)) >= owed or None

        self._until(arrived, "the mails that were sent again")

    def account(self, campaign_id: str) -> None:
        """Everyone exactly once, nobody missing: the campaign's ledger beside the inbox."""
        subject = "we miss you"
        found = Counter(mail.to for mail in inbox.read(self._mails) if subject in mail.subject)
        campaign = self._api.campaign(campaign_id)
        occurrence = campaign.occurrence
        expected = {
            customer.email
            for customer in self._customers
            if customer.wants_offers and customer.is_lapsed(datetime.now(UTC))
        }
        table = Table("win-back", "people")
        table.add_row("in the audience", f"{occurrence.total:,}")
        table.add_row("dropped: opted out of offers", f"{occurrence.dropped.get('consent', 0):,}")
        table.add_row("mails owed", f"{occurrence.owed:,}")
        table.add_row("got exactly one mail", f"{sum(count == 1 for count in found.values()):,}")
        table.add_row("got two or more", f"{sum(count > 1 for count in found.values()):,}")
        table.add_row("missing", f"{len(expected - found.keys()):,}")
        self._console.print(table)
        _expect(found.keys() == expected, f"{len(expected ^ found.keys())} people should, or should not, have got it")
        _expect(max(found.values()) == 1, "somebody got it twice")

    def _until(self, probe, what: str):  # type: ignore[no-untyped-def]
        """The probe's first answer that isn't None."""
        until = time.monotonic() + _PATIENCE_S
        while (answer := probe()) is None:
            if time.monotonic() > until:
                raise Disappointed(f"{what}: not as expected within {_PATIENCE_S:.0f} s")
            time.sleep(0.05)
        return answer
