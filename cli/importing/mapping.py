"""What the columns of a file mean, as a mapping file or the options of the command say it.

Import it where it's needed: pydantic takes as long to load as everything else, and most commands do without.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cli.importing import columns, instants


class MappingError(Exception):
    """What is wrong with a mapping, a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _column(written: str) -> str:
    columns.column(written)
    return written


def _instant_column(written: str) -> str:
    instants.instant_reader(columns.column(written), None)
    return written


def _zone(name: str) -> str:
    instants.zone_of(name)
    return name


ColumnName = Annotated[str, Field(min_length=1)]
TypedColumn = Annotated[str, AfterValidator(_column)]
"""`column`, `column:type` or `column:type(argument)`."""
InstantColumn = Annotated[str, AfterValidator(_instant_column)]
ZoneName = Annotated[str, AfterValidator(_zone)]


class Mapping(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: Annotated[dict[str, ColumnName], Field(min_length=1)]
    """Namespace → column: whose it is. Rows of profiles may have several; the first one that a row has is its
    event's."""
    default_zone: ZoneName = ""
    """Of dates and times that don't say their offset from UTC. Without one those are refused."""

    def digest(self) -> str:
        """Differs for mappings that differ."""
        return hashlib.sha256(f"{type(self).__name__} {self.model_dump_json()}".encode()).hexdigest()

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """Raises `MappingError`."""
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            raise MappingError([_line(problem) for problem in error.errors()]) from None

    @classmethod
    def read(cls, text: str) -> Self:
        """From YAML. All of it is text: a column named `no` or `1` needs no quotes. Raises `MappingError`."""
        try:
            said = yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            raise MappingError([f"not YAML: {' '.join(str(error).split())}"]) from None
        return cls.of(said if said else {})


class EventMapping(Mapping):
    event_id: str = ""
    """The column that holds the event's id as it is."""
    event_id_from: tuple[ColumnName, ...] = ()
    """Columns that together name the fact: the id is derived from the event's type and these. With neither of the two
    it's derived from the row's line and text."""
    type: str = ""
    """The type of all events, or else"""
    type_from: str = ""
    """the column that says it."""
    occurred_at: InstantColumn | None = None
    properties: dict[str, TypedColumn] = {}
    """Name → column."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.type) == bool(self.type_from):
            raise ValueError("say the events' type, either by type or by type_from")
        if self.event_id and self.event_id_from:
            raise ValueError("an event's id is either its event_id or derived by event_id_from")
        return self


class ProfileMapping(Mapping):
    attributes: dict[str, TypedColumn] = {}
    """Name → column."""
    observed_at: InstantColumn | None = None
    """When all that the row says was seen to hold."""
    source: Annotated[str, Field(pattern="^([a-z0-9][a-z0-9_-]{0,62})?$")] = ""
    """Who says all this: a text, no column."""
    consents: dict[Annotated[str, Field(pattern="^(email|sms|push|webhook)/.+$")], ColumnName] = {}
    """Channel/topic → column, which says opted_in or opted_out, or yes or no."""
    changed_at: InstantColumn | None = None
    """When the person said so, if not when all was observed."""
    consent_source: str = ""
    """Where all consents were given: a text, no column."""
    as_of: str = ""
    """The instant of which the file tells: `observed_at` and `changed_at` of rows that don't say theirs."""
    time_zone: str = ""
    """The column with the person's zone."""
    locale: str = ""
    """The column with the person's language."""

    @model_validator(mode="after")
    def _check_as_of(self) -> Self:
        if self.as_of:
            instants.instant_reader(columns.column("as_of"), instants.zone_of(self.default_zone))(self.as_of)
        return self


def _line(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is nothing of this name in a mapping of this kind"
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {message}" if where else message
