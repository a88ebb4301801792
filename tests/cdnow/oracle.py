"""Who is in which segment by `segments.sql`, which DuckDB runs straight over the file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

_SQL = (Path(__file__).parent / "segments.sql").read_text()
SEGMENTS = re.findall(r'^create view "([^"]+)"', _SQL, re.MULTILINE)

_CSV = """
    select row_number() over () as id, customer, date as day, cds, value
    from read_csv(?, types = {'customer': 'varchar', 'value': 'decimal(10, 2)'})
"""
_AS_PUBLISHED = """
    select row_number() over () as id, part[1] as customer, strptime(part[2], '%Y%m%d')::date as day,
        part[3]::int as cds, part[4]::decimal(10, 2) as value
    from (
        select string_split_regex(trim(line), '\\s+') as part
        from read_csv(?, delim = '\\0', header = true, columns = {'line': 'varchar'})
    )
"""
_PURCHASE = """
create table purchase as
select *, timezone('UTC', timezone('America/New_York', day::timestamp)) as moment from ({rows})
"""
_AT_DATES = """
create table asked as
select customer, make_timestamp(micros) as now
from (select distinct customer from purchase), unnest(?::bigint[]) as dates(micros)
"""
_WHENEVER = """
create table asked as
with since as (select customer, min(day) as day from purchase group by customer),
dates as (
    select customer, make_date(1997 + year, month(day), day(day)) + days as day
    from since, range(6) as y(year), unnest([-30, 0, 1]) as d(days)
    union
    select customer, day + days from since, unnest([366, 731]) as d(days)
)
select customer, moment + to_hours(24 * days) as now
from purchase, unnest([0, 30, 90, 120, 180, 365]) as w(days)
where now <= make_timestamp($until)
union
select customer, timezone('UTC', timezone('America/New_York', day::timestamp)) as now
from dates where now <= make_timestamp($until)
"""
"""Whenever a purchase comes, leaves one of the windows or reaches one of the ages in the rules; and when a day begins
that matters to one of their dates."""

_FLIPS = """
with standing as (
    select asked.customer, asked.now, answer.now is not null as member
    from asked left join "{segment}" as answer using (customer, now)
)
select customer, epoch_us(now), member from standing
qualify member <> lag(member, 1, false) over (partition by customer order by now)
"""


@dataclass(frozen=True, slots=True)
class Oracle:
    file: Path

    def members(self, instants: Iterable[int]) -> dict[tuple[str, int], set[str]]:
        """Who is in a segment at an instant."""
        dates = list(instants)
        answers = self._asked(_AT_DATES, [dates])
        found: dict[tuple[str, int], set[str]] = {(segment, at): set() for segment in SEGMENTS for at in dates}
        for segment in SEGMENTS:
            for customer, at in answers.execute(f'select customer, epoch_us(now) from "{segment}"').fetchall():
                found[segment, at].add(customer)
        return found

    def flips(self, until: int) -> dict[str, set[tuple[str, int, bool]]]:
        """Of each segment: who entered it, or left it, at which instant."""
        answers = self._asked(_WHENEVER, {"until": until})
        return {segment: set(answers.execute(_FLIPS.format(segment=segment)).fetchall()) for segment in SEGMENTS}

    def _asked(self, asked: str, parameters: object) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config={"threads": 2})
        rows = _CSV if self.file.suffix == ".csv" else _AS_PUBLISHED
        connection.execute(_PURCHASE.format(rows=rows), [str(self.file)])
        connection.execute(asked, parameters)
        connection.execute(_SQL)
        return connection
