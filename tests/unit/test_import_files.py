"""Files as records with positions, and the files that an import keeps."""

from __future__ import annotations

import json
import stat
from io import BytesIO
from pathlib import Path

import pytest
from camino.client.ingestion.pace import MOST_BYTES

from cli.importing.checkpoint import Checkpoint, CheckpointError, CheckpointFile, Counts, Subject
from cli.importing.csv_records import csv_records
from cli.importing.ndjson_records import ndjson_records
from cli.importing.records import HeaderError, Position, Record, Rejection
from cli.importing.rejects import AlreadyRunning, Rejects

SUBJECT = Subject("file", "mapping", "shop")


def rows(content: bytes, **options: str) -> list[Record]:
    return list(csv_records(BytesIO(content), **options))


def objects(content: bytes, *wanted: str) -> list[Record]:
    return list(ndjson_records(BytesIO(content), wanted=frozenset(wanted)))


def test_csv_has_a_header_and_rows():
    found = rows(b'a,b\r\n1,2\r\n\r\n"x, ""y""\nz",4\n5,6')
    assert [(each.line, each.row) for each in found] == [
        (2, {"a": "1", "b": "2"}),
        (4, {"a": 'x, "y"\nz', "b": "4"}),
        (6, {"a": "5", "b": "6"}),
    ]
    assert [each.text for each in found] == ["1,2", '"x, ""y""\nz",4', "5,6"]
    assert [each.after.line for each in found] == [3, 6, 7]


def test_a_byte_order_mark_is_no_part_of_a_name():
    [found] = rows(b"\xef\xbb\xbfa\n1\n")
    assert found.row == {"a": "1"}
    assert found.after == Position(7, 3)
    [item] = objects(b'\xef\xbb\xbf{"a": "1"}\n', "a")
    assert item.row == {"a": "1"}


def test_another_delimiter():
    assert rows(b"a;b\n1,5;2\n", delimiter=";")[0].row == {"a": "1,5", "b": "2"}


def test_a_bad_row_is_a_problem_of_its_own():
    found = rows(b'a,b\n1\n1,2,3\n"x"y,2\n\xff,2\nok,1\n"never,\n')
    assert [(each.line, each.problem) for each in found] == [
        (2, "has 1 cells, and the header names 2 columns"),
        (3, "has 3 cells, and the header names 2 columns"),
        (4, "not CSV: ',' expected after '\"'"),
        (5, "not UTF-8"),
        (6, ""),
        (7, "not CSV: unexpected end of data"),
    ]
    assert found[3].text == "\\xff,2"
    assert found[4].row == {"a": "ok", "b": "1"}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "there is no column 'a'; the file has none"),
        (b"b,c\n1,2\n", "there is no column 'a'; the file has 'b', 'c'"),
        (b"a,a\n1,2\n", "several columns are named 'a'"),
        (b"a,\xff\n1,2\n", "isn't UTF-8"),
        (b'"a"b\n', "no header"),
    ],
)
def test_a_header_without_the_columns_is_told_at_once(content: bytes, wrong: str):
    with pytest.raises(HeaderError, match=wrong):
        csv_records(BytesIO(content), wanted=frozenset("a"))


def test_a_line_that_is_too_long_is_skipped_without_being_kept():
    found = rows(b"a\n" + b"x" * (MOST_BYTES + 10) + b"\nok\n")
    assert [each.problem for each in found] == ["longer than 4 MiB", ""]
    assert len(found[0].text) == 1000
    assert found[1].after == Position(2 + MOST_BYTES + 11 + 3, 4)
    assert [each.problem for each in objects(b" " * (MOST_BYTES + 1) + b'x\n{"a": "1"}\n', "a")][-1] == ""


def test_a_row_of_endless_lines_is_given_up():
    # Many cells of one row, each small, each with a line of its own: no cell is too long, the row is.
    endless = b'"' + b'x\n","' * (MOST_BYTES // 5 + 1)
    found = rows(b"a\n" + endless + b'"\nok\n')
    assert found[0].problem == "longer than 4 MiB"
    assert found[-1].row == {"a": "ok"}


def test_ndjson_has_cells_of_json():
    [found] = objects(b'{"a": 1.50, "b": [ "x" ], "c": true, "d": null, "e": {"deep": 1}}\n\n', *"abcd")
    assert found.row == {"a": "1.50", "b": ["x"], "c": True, "d": ""}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"{", "not a JSON object as it is mapped"),
        (b"[]", "the line holds something else"),
        (b'{"a": {}}', "'a' is an object"),
        (b'{"a": [true]}', "'a' is a list of other things than texts"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "not a JSON object as it is mapped"),
    ],
)
def test_a_bad_object_is_a_problem_of_its_own(line: bytes, wrong: str):
    bad, good = objects(line + b'\n{"a": "1"}', "a")
    assert wrong in bad.problem
    assert good.row == {"a": "1"}


def test_a_checkpoint_is_for_what_it_was_made_for(tmp_path: Path):
    path = tmp_path / "state"
    file = CheckpointFile(path, SUBJECT)
    assert file.load() is None
    kept = Checkpoint(Position(120, 7), Counts(3, 2, 1), 40)
    file.save(kept)
    assert CheckpointFile(path, SUBJECT).load() == kept
    assert [found.name for found in tmp_path.iterdir()] == ["state"]
    with pytest.raises(CheckpointError, match="the file is not what it was"):
        CheckpointFile(path, Subject("other", "mapping", "shop")).load()
    with pytest.raises(CheckpointError, match="the mapping and the workspace are not what they were"):
        CheckpointFile(path, Subject("file", "other", "other")).load()
    file.remove()
    assert file.load() is None


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"subject": {}}', "null"])
def test_what_is_no_checkpoint(tmp_path: Path, content: str):
    (tmp_path / "state").write_text(content)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        CheckpointFile(tmp_path / "state", SUBJECT).load()


def rejected(line: int) -> tuple[Record, Rejection]:
    return Record(line, f"row {line}", Position(0, 1)), Rejection("UNMAPPABLE", "type", "nothing")


def test_rejects_are_for_their_owner_and_go_on_where_they_were_cut(tmp_path: Path):
    path = tmp_path / "rejects"
    path.write_text("of an earlier import")
    path.chmod(0o644)
    with Rejects(path) as rejects:
        rejects.cut(0)
        rejects.add(*rejected(1))
        at = rejects.saved()
        rejects.add(*rejected(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Rejects(path) as rejects:
        rejects.cut(at)
        rejects.add(*rejected(3))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"line": line, "reason": "UNMAPPABLE", "field": "type", "message": "nothing", "row": f"row {line}"}
        for line in (1, 3)
    ]


def test_rejects_that_somebody_took_away_are_not_made_up(tmp_path: Path):
    with Rejects(tmp_path / "rejects") as rejects:
        rejects.cut(1000)
        assert rejects.saved() == 0
    assert not (tmp_path / "rejects").exists()


def test_one_import_at_a_time_has_the_rejects(tmp_path: Path):
    with Rejects(tmp_path / "rejects"), pytest.raises(AlreadyRunning):
        Rejects(tmp_path / "rejects")
