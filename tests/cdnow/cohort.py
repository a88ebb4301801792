"""The CDNOW cohort as Camino is told of it: each purchase an event at the beginning of its day in New York, and with it
what the shop knows of the person by then.

The part in `examples/cdnow`, or the whole file as it was published, if `CAMINO_CDNOW` says where it is. Through a store
goes every twentieth customer, or every `CAMINO_CDNOW_EVERY`th.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged

from services.chassis.wire import set_instant, set_value
from services.segment import convert
from services.segment.domain import Facts, History, Value

ROOT = Path(__file__).parents[2]
PART = ROOT / "examples/cdnow/purchases.csv"
FILE = Path(os.environ.get("CAMINO_CDNOW") or PART)
EVERY = int(os.environ.get("CAMINO_CDNOW_EVERY") or 20)
DEFINITIONS = ROOT / "examples/cdnow/segments"

WORKSPACE = "shop"
ZONE = "America/New_York"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def midnight(day: date) -> int:
    """When a day begins in New York."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE)))


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Purchase:
    event_id: str
    """These grow in the order of the file."""
    day: date
    at: int
    cds: float
    value: float

    @property
    def properties(self) -> dict[str, Value]:
        return {"cds": self.cds, "value": self.value}


@dataclass
class Customer:
    customer_id: str
    purchases: list[Purchase] = field(default_factory=list)
    """In the order of (at, event_id)."""

    def attributes(self, purchases: list[Purchase]) -> dict[str, Value]:
        """What the shop knows when it has seen these."""
        if not purchases:
            return {}
        first = purchases[0]
        known: dict[str, Value] = {"first_purchase": first.at, "first_month": first.day.strftime("%Y-%m")}
        if len(purchases) > 1:
            known["days_to_second"] = float((purchases[1].day - first.day).days)
        return known

    def facts(self, now: int) -> Facts:
        """The whole history, what is still to come included, and the attributes that are known by now."""
        return Facts(
            self.attributes([purchase for purchase in self.purchases if purchase.at <= now]),
            {"purchase": self._history},
            time_zone=ZONE,
        )

    @cached_property
    def _history(self) -> History:
        purchases = self.purchases
        return History(
            [purchase.at for purchase in purchases],
            [purchase.event_id for purchase in purchases],
            [purchase.properties for purchase in purchases],
        )

    def told(self) -> Iterator[tuple[int, list[ProfileChanged]]]:
        """What the profile service says of each instant at which something was bought."""
        number = 0
        for at, together in groupby(self.purchases, lambda purchase: purchase.at):
            changes = []
            for purchase in together:
                number += 1
                changes.append(self._change(purchase, number))
            yield at, changes

    def _change(self, purchase: Purchase, number: int) -> ProfileChanged:
        profile = profile_pb2.Profile(
            workspace_id=WORKSPACE, profile_id=self.customer_id, revision=number, time_zone=ZONE
        )
        for name, value in self.attributes(self.purchases[:number]).items():
            set_value(profile.attributes[name].value, value)
        event = profile_pb2.Event(
            workspace_id=WORKSPACE,
            profile_id=self.customer_id,
            event_id=purchase.event_id,
            type="purchase",
            occurred_at=convert.timestamp(purchase.at),
        )
        for name, value in purchase.properties.items():
            set_value(event.properties[name], value)
        change = ProfileChanged(profile=profile, event=event)
        set_instant(change.profile.update_time, purchase.at)
        return change


def load(file: Path = FILE) -> list[Customer]:
    customers: dict[str, Customer] = {}
    midnights: dict[str, tuple[date, int]] = {}
    for number, (customer_id, written, cds, value) in enumerate(_rows(file)):
        if written not in midnights:
            day = date.fromisoformat(written)
            midnights[written] = day, midnight(day)
        day, at = midnights[written]
        purchase = Purchase(f"{number:06}", day, at, float(cds), float(value))
        customers.setdefault(customer_id, Customer(customer_id)).purchases.append(purchase)
    for customer in customers.values():
        customer.purchases.sort(key=lambda purchase: (purchase.at, purchase.event_id))
    return list(customers.values())


def _rows(file: Path) -> Iterator[list[str]]:
    with file.open() as lines:
        next(lines)
        yield from csv.reader(lines) if file.suffix == ".csv" else map(str.split, lines)
