"""The examples in `docs/segments.md`, told from the files that are applied and counted on the part of the cohort in the
repository. `python -m tests.cdnow.page` writes them anew; what stands above them is written by hand.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import date

from services.segment import definitions
from services.segment.domain.printed import in_lines
from tests.cdnow import rules
from tests.cdnow.cohort import DEFINITIONS, PART, ROOT, load, midnight

PAGE = ROOT / "docs/segments.md"
FILES = ("recency", "frequency", "money", "sequences", "people", "together")
BEGIN = "<!-- From here on written by tests/cdnow/page.py -->\n"
AS_OF = midnight(date(1998, 7, 1))


def page() -> str:
    """As it should be."""
    by_hand, begin, _ = PAGE.read_text().partition(BEGIN)
    assert begin
    return f"{by_hand}{begin}\n{examples()}"


def examples() -> str:
    published = rules.published()
    documents = {document.id: document for document in rules.documents()}
    facts = [customer.facts(AS_OF) for customer in load(PART)]
    parts = []
    for name in FILES:
        path = DEFINITIONS / f"{name}.yaml"
        parts.append(f"## {name}.yaml")
        for said, id_, text in _written(path.read_text()):
            definition = definitions.definition_of(documents[id_].request.definition)
            number = sum(published.by_id[id_].ask(one, AS_OF)[0] for one in facts)
            parts += [
                *said,
                f"**{definition.display_name}**: `{id_}`, {number:,} people",
                f"```yaml\n{text}\n```",
                textwrap.indent(in_lines(definition.condition), "    "),
            ]
    return "\n\n".join(parts) + "\n"


def _written(file: str) -> Iterator[tuple[list[str], str, str]]:
    """Of each document: what is said of it in comments, its id, and its spec but for the name."""
    for document in file.split("---\n"):
        lines = document.splitlines()
        comments = [line.removeprefix("# ") for line in lines if line.startswith("#")]
        [id_] = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
        spec = lines[lines.index("spec:") + 1 :]
        shown = [line for line in spec if not line.startswith("  displayName:")]
        yield [" ".join(comments)] if comments else [], id_, textwrap.dedent("\n".join(shown))


if __name__ == "__main__":
    PAGE.write_text(page())
