"""The guide to segments tells of those that there are, and counts who is in them."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cli.main import app
from tests.cdnow.cohort import DEFINITIONS
from tests.cdnow.page import FILES, PAGE, page


def test_the_page_tells_what_the_files_say() -> None:
    """If not, `python -m tests.cdnow.page` writes it anew."""
    assert sorted(path.stem for path in Path(DEFINITIONS).iterdir()) == sorted(FILES)
    assert page() == PAGE.read_text()


def test_the_segments_can_be_applied_as_the_page_says() -> None:
    result = CliRunner().invoke(app, ["apply", "-f", str(DEFINITIONS), "--dry-run"])
    assert result.exit_code == 0, result.output
