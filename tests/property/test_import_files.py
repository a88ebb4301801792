"""Whatever is in a file: it's read as it was written, from any position, and nothing stops it."""

from __future__ import annotations

import csv
import json
from io import BytesIO, StringIO

from hypothesis import given
from hypothesis import strategies as st

from cli.importing.cells import Literal
from cli.importing.csv_records import csv_records
from cli.importing.event_rows import EventRows
from cli.importing.items import items
from cli.importing.mapping import EventMapping
from cli.importing.ndjson_records import ndjson_records
from cli.importing.records import Record, Rejection

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DELIMITERS = st.sampled_from(",;\t|")
WIDTHS = st.integers(1, 4)
# A row of nothing is no row.
TABLES = WIDTHS.flatmap(
    lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width).filter(any), min_size=1, max_size=8)
)
MAPPING = EventMapping.of(
    {
        "identity": {"email": "a"},
        "type_from": "b",
        "occurred_at": "c",
        "properties": {"n": "a:number", "l": "b:list", "f": "c:bool", "t": "d:timestamp(%d/%m/%Y)", "e": "d:epoch"},
    }
)


def written(rows: list[list[str]], delimiter: str, end: str) -> bytes:
    text = StringIO(newline="")
    # With "\n" at the ends, the writer leaves "\r" without the quotes that it needs.
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return text.getvalue().encode()


def read(content: bytes, delimiter: str) -> list[Record]:
    return list(csv_records(BytesIO(content), delimiter=delimiter))


@given(TABLES, DELIMITERS, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_comes_back_as_it_was_written(table: list[list[str]], delimiter: str, end: str, marked: bool):
    header = [f"column {number}" for number in range(len(table[0]))]
    content = (b"\xef\xbb\xbf" if marked else b"") + written([header, *table], delimiter, end)
    found = read(content, delimiter)
    assert [list(record.row.values()) for record in found] == table
    assert not any(record.problem for record in found)
    assert found[-1].after.offset == len(content)


@given(TABLES, st.data())
def test_csv_goes_on_at_any_record(table: list[list[str]], data: st.DataObject):
    header = [f"column {number}" for number in range(len(table[0]))]
    content = written([header, *table], ",", "\n")
    found = read(content, ",")
    done = data.draw(st.integers(0, len(found) - 1))
    rest = list(csv_records(BytesIO(content), at=found[done].after))
    assert rest == found[done + 1 :]


@given(st.binary(max_size=400))
def test_anything_at_all_becomes_records_that_cover_it(content: bytes):
    found = read(b"a,b,c,d\n" + content, ",")
    ends = [record.after.offset for record in found]
    assert ends == sorted(set(ends))
    assert all(record.problem or set(record.row) == set("abcd") for record in found)
    # Nothing but the ends of lines is lost.
    kept = "".join(record.text for record in found)
    assert _without_ends(kept) == _without_ends(content.decode("utf-8", "backslashreplace"))


def _without_ends(text: str) -> str:
    return text.replace("\n", "").replace("\r", "")


CELLS = st.one_of(TEXT, st.booleans(), st.none(), st.lists(TEXT, max_size=3), st.floats(allow_nan=False), st.integers())


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys("abcd", CELLS)), max_size=6), st.data())
def test_ndjson_comes_back_and_goes_on_at_any_record(rows: list[dict[str, object]], data: st.DataObject):
    rows = [{name: value for name, value in row.items() if value not in (float("inf"), -float("inf"))} for row in rows]
    content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    wanted = frozenset("abcd")
    found = list(ndjson_records(BytesIO(content), wanted=wanted))
    assert len(found) == len(rows)
    for record, row in zip(found, rows, strict=True):
        assert not record.problem
        for name, value in row.items():
            cell = record.row[name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                assert cell == ("" if value is None else value)
            else:
                assert isinstance(cell, Literal)
                assert float(cell) == float(value)
    if found:
        done = data.draw(st.integers(0, len(found) - 1))
        assert list(ndjson_records(BytesIO(content), wanted=wanted, at=found[done].after)) == found[done + 1 :]


ODD = st.one_of(
    TEXT,
    st.sampled_from(
        ["1", "nan", "1e400", "2026-01-01", "9999-12-31T23:59:59-01:00", "31/12/9999", "-1e30", "yes", '"']
    ),
)


@given(st.fixed_dictionaries(dict.fromkeys("abcd", ODD | st.lists(ODD, max_size=2) | st.booleans())))
def test_a_row_becomes_an_event_or_says_which_column_is_wrong(row: dict[str, object]):
    record = Record(7, json.dumps(row), next(iter(read(b"a\n1\n", ","))).after, row)  # type: ignore[arg-type]
    [(_, item)] = items([record], EventRows(MAPPING))
    if isinstance(item, Rejection):
        assert item.reason == "UNMAPPABLE"
        assert any(repr(name) in item.message for name in "abcd")
    else:
        assert item.IsInitialized()
        assert item.event_id
