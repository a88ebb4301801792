"""What goes out in the package `camino-client` stands on what the package says, and on nothing of ours."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).parents[2] / "clients/python"
# Namespaces that several distributions share: packages_distributions can't say which of them is meant.
SHARED = {"google.protobuf": "protobuf", "google.rpc": "googleapis-common-protos"}
OURS = {"camino", "buf"}


def imports(folder: str) -> Iterator[tuple[Path, str]]:
    for path in (CLIENT / "camino" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield path, str(node.module)


def undeclared(folder: str, declared: Iterable[str]) -> set[tuple[str, str]]:
    """(file, module) of each import that's neither ours, the standard library's, nor of a declared distribution."""
    names = {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in declared}
    providers = packages_distributions()
    found = set()
    for path, module in imports(folder):
        top = module.split(".")[0]
        shared = SHARED.get(".".join(module.split(".")[:2]))
        of = {shared} if shared else set(map(normal, providers.get(top, ())))
        if top not in OURS and top not in sys.stdlib_module_names and not of & names:
            found.add((str(path.relative_to(CLIENT)), module))
    return found


def normal(distribution: str) -> str:
    """Names that differ in case and in dashes only are the same."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def project() -> Any:
    return tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]


def test_the_client_imports_only_what_it_depends_on():
    """And, where it does without, what an extra brings."""
    optional = undeclared("client", project()["dependencies"])
    assert {path for path, _ in optional} == {"camino/client/traces.py"}
    declared = [*project()["dependencies"], *project()["optional-dependencies"]["tracing"]]
    assert undeclared("client", declared) == set()


def test_the_client_works_without_its_extra():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from camino.client.terms import Terms\n"
        "print(Terms(1, None).metadata([('a', 'b')]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[('a', 'b')]\n", done.stderr


def test_what_helps_to_test_imports_only_what_its_extra_brings_as_well():
    declared = [*project()["dependencies"], *project()["optional-dependencies"]["testing"]]
    assert undeclared("testing", declared) == set()


def test_the_client_does_without_what_helps_to_test():
    assert [found for found in imports("client") if found[1].startswith("camino.testing")] == []


def test_an_import_that_is_not_declared_is_found():
    assert ("camino/client/errors.py", "grpc") in undeclared("client", ["protobuf"])
