"""Who may know whom. Contracts between packages are import-linter's, in `.importlinter`; what is pure is told here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"
LONGEST = 450

PURE = sorted(
    path.relative_to(ROOT)
    for path in (
        *SERVICES.glob("*/domain.py"),
        *SERVICES.glob("*/domain/*.py"),
        *SERVICES.glob("*/evaluate/*.py"),
        *SERVICES.glob("*/engine.py"),
    )
    if path.parent.name != "chassis"
)
MAY_BE_KNOWN = {"services.chassis.errors", "services.chassis.clock"}


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = (ROOT / Path(*name.split("."))).with_suffix(".py").exists()
                yield name if is_module else str(node.module)


def lint(directory: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", config, "--no-cache", "--no-logo"],
        cwd=directory,
        env={"PYTHONPATH": f"{directory}:{ROOT / 'gen'}"},
        capture_output=True,
        text=True,
    )


def test_packages_keep_to_their_contracts() -> None:
    result = lint(ROOT, ROOT / ".importlinter")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("services/profile/x.py", "import services.segment.y", "contracts only"),
        ("services/chassis/x.py", "import services.profile.y", "no service"),
        ("services/profile/x.py", "import pymongo", "driver"),
        ("services/profile/x.py", "import sqlite3", "SQLite"),
    ],
)
def test_the_contracts_find_what_breaks_them(tmp_path: Path, module: str, line: str, contract: str) -> None:
    for service in ("profile", "segment", "orchestrator", "channels", "chassis"):
        package = tmp_path / "services" / service
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "y.py").touch()
    (tmp_path / "services/__init__.py").touch()
    (tmp_path / "services/chassis/mongo.py").write_text("import motor\nimport pymongo\n")
    (tmp_path / "services/chassis/sqlite.py").write_text("import sqlite3\n")
    (tmp_path / ".importlinter").write_text((ROOT / ".importlinter").read_text())
    assert lint(tmp_path, tmp_path / ".importlinter").returncode == 0
    (tmp_path / module).write_text(f"{line}\n")
    result = lint(tmp_path, tmp_path / ".importlinter")
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in row and "BROKEN" in row for row in result.stdout.splitlines()), result.stdout


def test_there_is_something_pure() -> None:
    assert len(PURE) >= 7


@pytest.mark.parametrize("path", PURE, ids=str)
def test_what_is_pure_knows_only_the_standard_library_and_what_is_pure(path: Path) -> None:
    pure = {module_of(found) for found in PURE} | MAY_BE_KNOWN
    unknown = {name for name in imports(path) if name not in pure and name.split(".")[0] not in sys.stdlib_module_names}
    assert unknown == set()


@pytest.mark.parametrize("path", PURE, ids=str)
def test_what_is_pure_asks_nobody_for_the_time_or_for_chance(path: Path) -> None:
    assert not {"time", "random", "secrets", "uuid", "os", "asyncio", "threading"} & set(imports(path))
    text = (ROOT / path).read_text()
    assert not [word for word in ("datetime.now(", "utcnow(", "today(", "open(") if word in text]


@pytest.mark.parametrize("path", sorted(path.relative_to(ROOT) for path in SERVICES.glob("*/store.py")), ids=str)
def test_stores_do_not_know_the_wire(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] in ("camino", "google", "grpc")]


@pytest.mark.parametrize(
    ("folders", "longest"),
    [
        (("services", "cli", "clients", "examples", "bench"), LONGEST),
        # A suite is a list of independent cases.
        (("tests",), 650),
    ],
)
def test_no_file_is_too_long_to_be_read(folders: tuple[str, ...], longest: int) -> None:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 10
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > longest} == {}
