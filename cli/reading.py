"""Reading YAML documents from files, directories and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.documents import Document, Parser
from cli.source import Problem

_SUFFIXES = (".yaml", ".yml")

Files = Annotated[
    list[Path], typer.Option("--file", "-f", help="A YAML file, a directory of them, or - for standard input.")
]


def documents(paths: Iterable[Path], workspace: str) -> list[Document]:
    """What the files hold, in the order in which it's to be published; `workspace` is that of documents that don't say
    theirs. Ends the command when anything is wrong, with all of it told."""
    parser = Parser(workspace)
    for path in paths:
        _read(parser, path)
    if parser.problems:
        for problem in parser.problems:
            output.complain(str(problem))
        output.complain(f"nothing was sent: {len(parser.problems)} to mend")
        raise typer.Exit(1)
    return list(parser.in_order())


def _read(parser: Parser, path: Path) -> None:
    if str(path) == "-":
        parser.read("standard input", sys.stdin.read())
        return
    paths = [path]
    if path.is_dir():
        paths = sorted(found for found in path.iterdir() if found.suffix in _SUFFIXES)
        if not paths:
            fix = "name a file, or a directory with *.yaml in it"
            parser.problems.append(Problem(str(path), 0, "", "holds no YAML file", fix))
    for each in paths:
        try:
            text = each.read_text(encoding="utf-8")
        except OSError as error:
            parser.problems.append(Problem(str(each), 0, "", f"can't be read: {error.strerror}", "name another file"))
        except UnicodeDecodeError:
            parser.problems.append(Problem(str(each), 0, "", "isn't UTF-8", "save it as UTF-8"))
        else:
            parser.read(str(each), text)
