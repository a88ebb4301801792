"""What an import says while it goes: lines for logs, a bar for people, nothing if it's told to be quiet."""

from __future__ import annotations

from io import BytesIO

import pytest

from cli.importing.checkpoint import Counts
from cli.importing.progress import progress
from cli.importing.source import Source


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def half_read(size: int | None = 200) -> Source:
    content = BytesIO(bytes(200))
    content.seek(100)
    return Source(content, size, content)


def test_lines_come_now_and_then_with_the_rate_of_this_run(capsys: pytest.CaptureFixture[str]):
    seconds, counts = Seconds(), Counts(1_000, 0, 0)
    with progress(half_read(), 1_000, quiet=False, now=seconds) as show:
        for _ in range(100):
            seconds.now += 0.1
            counts.taken += 100
            show(counts)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) in (1, 2)
    assert lines[0].startswith("50%, 6,")
    assert lines[0].endswith(" taken, 0 duplicates, 0 rejected (1,000 rows/s)")


def test_a_pipe_has_no_share(capsys: pytest.CaptureFixture[str]):
    seconds = Seconds()
    with progress(half_read(None), 0, quiet=False, now=seconds) as show:
        seconds.now += 10
        show(Counts(50, 0, 0))
    assert capsys.readouterr().err == "50 taken, 0 duplicates, 0 rejected (5 rows/s)\n"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    seconds = Seconds()
    with progress(half_read(), 0, quiet=False, now=seconds) as show:
        seconds.now += 10
        show(Counts(3, 0, 0))
        show(Counts(7, 2, 1))  # At once after the other: it's shown because it's the last.
    said = capsys.readouterr().err
    assert "━" in said
    assert " 50%" in said
    assert "7 taken, 2 duplicates, 1 rejected (1 rows/s)" in said


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]):
    seconds = Seconds()
    with progress(half_read(), 0, quiet=True, now=seconds) as show:
        seconds.now += 100
        show(Counts(50, 0, 0))
    assert capsys.readouterr().err == ""
