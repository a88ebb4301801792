"""Strings that match a pattern of RE2's syntax, and some that nearly do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from camino.testing.schema.candidates import UnknownOption
from camino.testing.schema.simplest import simplest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# What RE2 has and Python's `re` has not, or reads otherwise.
_FOREIGN = re.compile(r"\[\[:|\\p|\\P|\\z|\\C|\\Q|\(\?[a-zA-Z]*U")
# Escapes, classes, and the `$` outside of both.
_END = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]])*\])|\$")
_BOUNDED = re.compile(r"\{(\d+),(\d+)\}")


def matching(pattern: str) -> SearchStrategy[str]:
    """Strings that match. Raises `UnknownOption` if the pattern isn't one that Python can read."""
    return st.from_regex(_readable(pattern))


def near(pattern: str) -> Iterator[str]:
    """Strings that match, and some of which a little is missing."""
    simple, longest = simplest_and_longest(pattern)
    yield from (longest + longest[-1:], f"{longest}x")
    for match in (simple, longest):
        yield from (f"{match}\n", f" {match}", f"{match} ", match[:-1], match[1:], match.swapcase(), f"{match}é", match)
    yield from ("", "~", "é", "x", "0", "\x00")


@cache
def simplest_and_longest(pattern: str) -> tuple[str, str]:
    """Two strings that match; in the second each bounded count is at its most."""
    longest = _BOUNDED.sub(r"{\2}", pattern)
    simple, long = (simplest(st.from_regex(_readable(each))) for each in (pattern, longest))
    return simple, long


@cache
def _readable(pattern: str) -> re.Pattern[str]:
    """The pattern as Python reads it. Where RE2's `$` is the very end, Python's also comes before a last newline; and
    RE2's classes such as `\\d` are of ASCII."""
    if _FOREIGN.search(pattern):
        raise UnknownOption(f"pattern {pattern}")
    try:
        return re.compile(_END.sub(lambda match: match[1] or r"\Z", pattern), re.ASCII)
    except re.error as error:
        raise UnknownOption(f"pattern {pattern}") from error
