"""The demo's people: CDNOW customers, with dates shifted so that the cohort's last day is today."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

_FILE = Path(__file__).parent.parent / "cdnow" / "purchases.csv"
_LAST_DAY = date(1998, 6, 30)
_NAMES = ("Ana", "Ben", "Chloe", "Diego", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kim", "Lena", "Mateo")


@dataclass(frozen=True, slots=True)
class Purchase:
    event_id: str
    at: datetime
    cds: int
    value: float


@dataclass(slots=True)
class Customer:
    number: int
    purchases: list[Purchase] = field(default_factory=list)

    @property
    def email(self) -> str:
        return f"customer-{self.number:05d}@example.com"

    @property
    def first_name(self) -> str:
        return _NAMES[self.number % len(_NAMES)]

    @property
    def wants_offers(self) -> bool:
        """One in a hundred has opted out of offers."""
        return self.number % 1000 != 1

    def is_loyal(self) -> bool:
        return len(self.purchases) >= 3

    def is_lapsed(self, now: datetime) -> bool:
        return all(purchase.at <= now - timedelta(days=180) for purchase in self.purchases)


def load(today: date) -> list[Customer]:
    """The customers with their purchases, each at a minute of its own in the morning of its day."""
    shift = today - _LAST_DAY
    customers: dict[int, Customer] = {}
    with _FILE.open() as file:
        for row in csv.DictReader(file):
            number = int(row["customer"])
            customer = customers.setdefault(number, Customer(number))
            place = len(customer.purchases)
            day = date.fromisoformat(row["date"]) + shift
            at = datetime.combine(day, time(0, 0, tzinfo=UTC)) + timedelta(seconds=place)
            customer.purchases.append(Purchase(f"cdnow-{number}-{place}", at, int(row["cds"]), float(row["value"])))
    return list(customers.values())
