"""The options that both kinds of import share, and the order that comes of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.importing import columns
from cli.importing.items import MakeItem
from cli.importing.order import Order, beside
from cli.importing.source import Form, delimiter_of, form_of, is_kept

if TYPE_CHECKING:
    from cli.importing.mapping import Mapping

File = Annotated[str, typer.Argument(help="CSV with a header row, or NDJSON; .gz is unpacked; - for standard input.")]
MappingFile = Annotated[
    Path | None, typer.Option("--mapping", "-m", help="What the columns mean, in YAML, instead of by options.")
]
Format = Annotated[Form | None, typer.Option("--format", help="If the file's name doesn't tell.")]
Delimiter = Annotated[str, typer.Option(help="Of CSV; a comma if left out, a tab for .tsv.")]
Zone = Annotated[str, typer.Option("--default-zone", help="Of dates and times without an offset: Europe/Madrid, UTC.")]
State = Annotated[Path | None, typer.Option(help="Where the position is kept; FILE.camino-import if left out.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin anew, whatever was done before.")]
RejectsFile = Annotated[
    Path | None, typer.Option("--rejects", help="Where rejected rows go; FILE.rejects.ndjson if left out.")
]
MaxRejects = Annotated[int | None, typer.Option(min=0, help="Stop when more rows than this were rejected.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and map everything, and send nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing until the end.")]
Identity = Annotated[
    list[str] | None, typer.Option(help="Whose it is, as NAMESPACE=COLUMN, such as email=mail. Repeatable.")
]

_Mapping = TypeVar("_Mapping", bound="Mapping")


def pairs(option: str, written: Iterable[str] | None) -> dict[str, str]:
    """Options of the form `name=column`, or `column` for what has the column's name."""
    try:
        return dict(columns.named_column(each) for each in written or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def mapping(kind: type[_Mapping], file: Path | None, **options: Any) -> _Mapping | None:
    """By the file, or by the options that were given; None if nothing was."""
    from cli.importing.mapping import MappingError

    said = {name: value for name, value in options.items() if value}
    if file is None and not said:
        return None
    if file is not None and said:
        raise typer.BadParameter(f"the file says it all: leave out {', '.join(said)}", param_hint="--mapping")
    try:
        return kind.read(file.read_text(encoding="utf-8")) if file else kind.of(said)
    except MappingError as error:
        problems = "\n".join(f"{file}: {each}" if file else each for each in error.problems)
        raise typer.BadParameter(problems, param_hint="--mapping" if file else None) from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} isn't UTF-8", param_hint="--mapping") from None
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}", param_hint="--mapping") from None


def order(
    file: str,
    form: Form | None,
    delimiter: str,
    make: MakeItem,
    mapping: str,
    *,
    state: Path | None,
    restart: bool,
    rejects: Path | None,
    max_rejects: int | None,
    dry_run: bool,
    quiet: bool,
) -> Order:
    """`mapping` is the mapping's digest; empty if there's none, and the lines are items as they stand."""
    form = form or form_of(file)
    if form is None:
        raise typer.BadParameter("its name doesn't tell what it is; say --format csv or ndjson", param_hint="FILE")
    if len(delimiter) > 1:
        raise typer.BadParameter("it's one character", param_hint="--delimiter")
    if form is Form.CSV and not mapping:
        raise typer.BadParameter("say what the columns mean, by --mapping or by --identity and the others")
    if state and not is_kept(file):
        raise typer.BadParameter("what comes through a pipe can't be gone on with", param_hint="--state")
    return Order(
        file=file,
        form=form,
        delimiter=delimiter or delimiter_of(file),
        make=make,
        mapping=mapping,
        state=state or beside(file, ".camino-import"),
        restart=restart,
        rejects=rejects or beside(file, ".rejects.ndjson"),
        max_rejects=max_rejects,
        dry_run=dry_run,
        quiet=quiet,
    )
