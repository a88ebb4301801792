"""Where each thing stands: on which page, under which heading. Links follow from that."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.schema import File, Schema, Type

_PAGE_OF_PACKAGE = {
    "camino.errors.v1": "errors",
    "camino.options.v1": "options",
    "camino.type.v1": "types",
}
_WELL_KNOWN = "https://protobuf.dev/reference/protobuf/google.protobuf/#"


def page_of(file: File) -> str:
    """The page that shows a file: a service's, with what its calls are about; or one for what all share."""
    if file.package in _PAGE_OF_PACKAGE:
        return _PAGE_OF_PACKAGE[file.package]
    stem = file.name.rpartition("/")[2].removesuffix(".proto")
    if stem.endswith("_events"):
        return "events"
    return stem.removesuffix("_service").replace("_", "-")


def anchor(heading: str) -> str:
    """What a heading of letters, digits, dots and underscores is linked by."""
    return heading.lower().replace(".", "")


class Links:
    """Markdown links to everything that a schema declares, from any page."""

    def __init__(self, schema: Schema) -> None:
        self._places = dict(_places(schema))

    def to(self, full_name: str, here: str, text: str = "") -> str:
        """A link to what has this name, from a page. Raises KeyError when nothing has."""
        page, heading = self._places[full_name]
        target = "" if page == here else f"{page}.md"
        return f"[{text or heading}]({target}#{anchor(heading)})"

    def type(self, type: Type, here: str) -> str:
        """A field's type in words, linked: `list of [Value](types.md#value)`."""
        one = self._one(type.name, here)
        if type.key:
            return f"map of {type.key} to {one}"
        return f"list of {one}" if type.many else one

    def _one(self, name: str, here: str) -> str:
        if name in self._places:
            return self.to(name, here)
        package, _, short = name.rpartition(".")
        return f"[{short}]({_WELL_KNOWN}{short.lower()})" if package == "google.protobuf" else name


def _places(schema: Schema) -> Iterator[tuple[str, tuple[str, str]]]:
    for file in schema.files:
        page = page_of(file)
        for service in file.services:
            yield service.full_name, (page, service.name)
            for rpc in service.rpcs:
                yield rpc.full_name, (page, rpc.name)
        for message in file.messages:
            yield message.full_name, (page, message.name)
        for enum in file.enums:
            yield enum.full_name, (page, enum.name)
            if page == "errors":
                for value in enum.values:
                    yield f"{enum.full_name}.{value.name}", (page, value.name.removeprefix("REASON_"))
