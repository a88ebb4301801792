"""What stands in the file of callers, which `CAMINO_CALLERS_FILE` names:

    callers:
      - name: shop-backend
        token_sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
        scopes: [profiles.write, events.*]
        workspaces: [shop, contract-*]

All scopes, or all workspaces, are `["*"]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from services.chassis.callers import Allowed, Caller, Callers

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
    "string_type": "must be text",
    "too_short": "must not be empty: nobody could call",
}


class CallersError(Exception):
    """The file doesn't say who may call: `problems` are all that is wrong with it, each with its place. They hold
    neither tokens nor digests."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("the list of callers has problems:\n" + "\n".join(f"  {line}" for line in self.problems))


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise PydanticCustomError("name", "must be up to 63 letters, digits, `.`, `_` and `-`")
    return text


def _digest(text: str) -> str:
    # Without the text: it may be the token itself, put here by mistake.
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise PydanticCustomError("digest", "must be 64 hexadecimal digits, as `camino tokens new` prints them")
    return text


def _scope(text: str) -> str:
    if not re.fullmatch(r"\*|[a-z][a-z_-]*\.(\*|[a-z][a-z_]*)", text):
        raise PydanticCustomError(
            "scope",
            "{text} is not a scope: write one as `profiles.write`, all of a kind as `profiles.*`, or all as `*`",
            {"text": repr(text)},
        )
    return text


def _workspace(text: str) -> str:
    if not re.fullmatch(r"\*|[a-z0-9][a-z0-9-]{0,62}\*?", text):
        raise PydanticCustomError(
            "workspace",
            "{text} is not a workspace: write its id, all that begin so as `contract-*`, or all as `*`",
            {"text": repr(text)},
        )
    return text


class Entry(BaseModel):
    """One token of a caller. Entries of the same name are tokens of the same caller."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(_name)]
    token_sha256: Annotated[str, AfterValidator(_digest)]
    scopes: list[Annotated[str, AfterValidator(_scope)]]
    workspaces: list[Annotated[str, AfterValidator(_workspace)]]

    def caller(self) -> Caller:
        return Caller(self.name, Allowed.of(self.scopes), Allowed.of(self.workspaces))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    callers: list[Entry] = Field(min_length=1)


def parse(content: bytes) -> Callers:
    """The callers in a file's content. Raises `CallersError`."""
    return Callers({bytes.fromhex(entry.token_sha256): entry.caller() for entry in entries(content)})


def entries(content: bytes) -> list[Entry]:
    """The entries in a file's content, each with a token of its own. Raises `CallersError`."""
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        read = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise CallersError([_not_yaml(error)]) from None
    except ValueError as error:
        # Something like a date that isn't one.
        raise CallersError([f"not YAML: {error}"]) from None
    problems = list(_repeated_keys(root))
    try:
        found = _File.model_validate(read).callers
    except ValidationError as error:
        problems += problems_of(error)
    else:
        problems += _repeated_tokens(found)
    if problems:
        raise CallersError(problems)
    return found


def problems_of(error: ValidationError) -> list[str]:
    """What is wrong with an entry or a file, each with its place."""
    return [
        f"{_place(problem['loc'])}{_WORDS.get(problem['type'], problem['msg'])}"
        for problem in error.errors(include_input=False, include_url=False)
    ]


def _place(steps: tuple[int | str, ...]) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return f"{place.removeprefix('.')}: " if place else "the file "


def _not_yaml(error: yaml.YAMLError) -> str:
    # Without the line itself, which the error's own text has.
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "can't be read"
    return f"{where}not YAML: {what}; text that begins with `*` wants quotes"


def _repeated_keys(node: yaml.Node | None) -> Iterator[str]:
    """YAML takes the last of two equal keys: somebody's scopes, or a whole list, would be gone without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"line {key.start_mark.line + 1}: `{key.value}` is here a second time"
            seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _repeated_tokens(found: list[Entry]) -> Iterator[str]:
    first: dict[str, int] = {}
    for place, entry in enumerate(found):
        earlier = first.setdefault(entry.token_sha256.lower(), place)
        if earlier != place:
            yield f"callers[{place}].token_sha256: the same token as callers[{earlier}]'s; give every entry its own"
