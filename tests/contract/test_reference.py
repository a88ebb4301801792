"""The API reference: it's as the protos are, shows all of them, and every link in it leads somewhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import protovalidate
import pytest
from camino.errors.v1 import reason_pb2
from camino.options.v1 import options_pb2
from camino.testing.contract.examples import examples
from camino.testing.rpcs import Rpc, facts, files, rpcs
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from cli.stack import PORTS
from docs.generate import calls
from docs.generate.pages import USUAL, pages
from docs.generate.reading import read

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "api"
WIRED = {message.DESCRIPTOR.full_name for rpc in rpcs() for message in (rpc.request, rpc.reply)}
REASONS = {name.removeprefix("REASON_"): number for name, number in reason_pb2.Reason.items()}
COMMON = {
    value.name.removeprefix("REASON_")
    for value in reason_pb2.Reason.DESCRIPTOR.values
    if value.GetOptions().Extensions[reason_pb2.common]
}
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]+\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def described() -> FileDescriptorSet:
    return FileDescriptorSet.FromString((ROOT / "gen" / "camino.binpb").read_bytes())


@pytest.fixture(scope="module")
def reference(described: FileDescriptorSet) -> dict[str, str]:
    """The pages as they should be, by their names."""
    return pages(read(described), examples())


@pytest.fixture(scope="module")
def sections(reference: dict[str, str]) -> dict[str, str]:
    """What stands under each heading of each page, up to the next one: by `page#Heading`."""
    found = {}
    for page, text in reference.items():
        heading = ""
        for line in text.splitlines():
            if title := re.fullmatch(r"#+ (.*)", line):
                heading = f"{page}#{title[1]}"
                assert heading not in found, f"two sections {heading}"
            found[heading] = found.get(heading, "") + line + "\n"
    return found


@pytest.fixture(scope="module")
def comments(described: FileDescriptorSet) -> dict[str, str]:
    """Every declaration's comment, by its full name; empty where there is none."""
    found = {}
    for file in read(described).files:
        for service in file.services:
            found[service.full_name] = service.comment
            found.update((rpc.full_name, rpc.comment) for rpc in service.rpcs)
        for message in file.messages:
            found[message.full_name] = message.comment
            found.update((f"{message.full_name}.{field.name}", field.comment) for field in message.fields)
        for enum in file.enums:
            found[enum.full_name] = enum.comment
            found.update((f"{enum.full_name}.{value.name}", value.comment) for value in enum.values)
        found.update((option.full_name, option.comment) for option in file.options)
    return found


def messages() -> Iterator[Descriptor]:
    """Every message of the contract, nested ones too, without the entries of maps."""

    def inside(message: Descriptor) -> Iterator[Descriptor]:
        if not message.GetOptions().map_entry:
            yield message
        for nested in message.nested_types:
            yield from inside(nested)

    for file in files():
        for message in file.message_types_by_name.values():
            yield from inside(message)


def enums() -> Iterator[EnumDescriptor]:
    for file in files():
        yield from file.enum_types_by_name.values()
    for message in messages():
        yield from message.enum_types


def declared(rpc: Rpc) -> set[str]:
    """The reasons that a method names itself, for calls and for items."""
    options = rpc_options(rpc)
    numbers = (*options[options_pb2.reasons], *options[options_pb2.item_reasons])
    return {reason_pb2.Reason.Name(number).removeprefix("REASON_") for number in numbers}


def rpc_options(rpc: Rpc) -> object:
    [method] = [
        found
        for file in files()
        for service in file.services_by_name.values()
        for found in service.methods
        if found.full_name == rpc.full_name
    ]
    return method.GetOptions().Extensions


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> list[str]:
    return [slug(title) for title in re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)]


# --- the pages are those of the protos --------------------------------------------------------------------------------


def test_the_pages_are_up_to_date(reference: dict[str, str]) -> None:
    written = {path.name: path.read_text() for path in API.glob("*")}
    stale = sorted(name for name in reference.keys() | written.keys() if reference.get(name) != written.get(name))
    assert stale == [], f"docs/api is not as the protos and examples are in {', '.join(stale)}: run `make docs`"


def test_every_method_is_shown_with_all_it_declares(sections: dict[str, str], reference: dict[str, str]) -> None:
    assert len(rpcs()) > 20
    for rpc in rpcs():
        service = rpc.service.rpartition(".")[2]
        [page] = {name.partition("#")[0] for name in sections if name.endswith(f"#{service}")}
        assert f"`{rpc.service}`" in reference[page]
        about = sections[f"{page}#{rpc.method}"]
        assert f"Scope: `{rpc.scope}`" in about
        assert ("Repeating: changes nothing" in about) == rpc.read_only
        assert ("succeeds or fails alone" in about) == bool(rpc.items_field)
        errors = sections[f"{page}#{rpc.method}: errors"]
        assert {link[1] for link in re.finditer(r"^\| \[(\w+)\]", errors, re.MULTILINE)} == declared(rpc)
        for message, part in ((rpc.request, "request"), (rpc.reply, "reply")):
            assert f"`{message.DESCRIPTOR.full_name}`" in sections[f"{page}#{rpc.method}: {part}"]


def test_the_index_lists_every_method(reference: dict[str, str]) -> None:
    index = reference["README.md"]
    assert [rpc.name for rpc in rpcs() if f"[{rpc.method}](" not in index] == []
    assert index.index("[ProfileService]") < index.index("[MessageService]") < index.index("[WorkspaceService]")


def test_every_message_is_shown_with_all_its_fields(sections: dict[str, str]) -> None:
    shown = list(messages())
    assert len(shown) > 50
    for message in shown:
        if message.full_name in WIRED:
            places = [text for name, text in sections.items() if f"`{message.full_name}`" in text and ": " in name]
        else:
            places = [text for name, text in sections.items() if name.endswith(f"#{message.name}")]
        assert len(places) == 1, message.full_name
        for field in message.fields:
            [row] = re.findall(rf"^\| `{field.name}` \|.*$", places[0], re.MULTILINE)
            assert ("[sensitive]" in row) == field.GetOptions().Extensions[options_pb2.sensitive], field.full_name
            if kind := field.message_type or field.enum_type:
                entry = kind.fields_by_name["value"] if field.message_type and kind.GetOptions().map_entry else None
                kind = (entry.message_type or entry.enum_type) if entry else kind
                assert kind is None or f"[{kind.name}](" in row, field.full_name


def test_every_enum_is_shown_with_all_its_values(sections: dict[str, str]) -> None:
    shown = [enum for enum in enums() if enum.full_name != reason_pb2.Reason.DESCRIPTOR.full_name]
    assert len(shown) > 10
    for enum in shown:
        [text] = [text for name, text in sections.items() if name.endswith(f"#{enum.name}")]
        for value in enum.values:
            assert f"| `{value.name}` | {value.number} |" in text


def test_every_reason_is_shown_with_its_status(sections: dict[str, str]) -> None:
    for value in reason_pb2.Reason.DESCRIPTOR.values:
        text = sections[f"errors.md#{value.name.removeprefix('REASON_')}"]
        assert f"`{value.name}`, number {value.number}" in text
        status = value.GetOptions().Extensions[reason_pb2.status]
        assert (f"Status `{status}`" in text) if status else ("Status" not in text)


def test_every_option_is_shown(reference: dict[str, str]) -> None:
    shown = [option.full_name for file in files() for option in file.extensions_by_name.values()]
    assert len(shown) > 5
    assert [name for name in shown if f"`{name}`" not in reference["options.md"]] == []


def test_every_fact_is_shown_with_its_key(sections: dict[str, str]) -> None:
    assert len(facts()) >= 4
    for fact in facts():
        key = fact.DESCRIPTOR.GetOptions().Extensions[options_pb2.subject_key]
        assert f"`{fact.DESCRIPTOR.full_name}`; its key is `{key}`" in sections[f"events.md#{fact.DESCRIPTOR.name}"]


def test_every_link_leads_somewhere(reference: dict[str, str]) -> None:
    seen = 0
    for page, text in reference.items():
        for target in _LINK.findall(_FENCE.sub("", text)):
            if target.startswith("https://"):
                continue
            seen += 1
            file, _, anchor = target.partition("#")
            assert (file or page) in reference, f"{page}: {target}"
            assert not anchor or anchor in anchors(reference[file or page]), f"{page}: {target}"
    assert seen > 300


def test_no_two_headings_of_a_page_have_the_same_anchor(reference: dict[str, str]) -> None:
    twice = {
        (page, anchor)
        for page, text in reference.items()
        for anchor, count in Counter(anchors(text)).items()
        if count > 1
    }
    assert twice == set()


def test_every_row_of_a_table_has_the_cells_of_its_head(reference: dict[str, str]) -> None:
    for page, text in reference.items():
        head = 0
        for line in _FENCE.sub("", text).splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not (cells and head) or cells == head, f"{page}: {line}"
            head = cells


# --- examples ---------------------------------------------------------------------------------------------------------


def test_everything_has_an_example_and_there_are_no_others() -> None:
    assert examples().keys() == {rpc.full_name for rpc in rpcs()} | {fact.DESCRIPTOR.full_name for fact in facts()}


def test_examples_come_after_calls_that_exist() -> None:
    known = {rpc.full_name for rpc in rpcs()}
    assert {call for found in examples().values() for call in found.after} <= known


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.name)
def test_an_example_is_a_valid_request(rpc: Rpc, sections: dict[str, str]) -> None:
    [shown] = [text for name, text in sections.items() if name.endswith(f"#{rpc.method}: example")]
    command = re.search(r"grpcurl (.*) <<'JSON'\n(.*)\nJSON\n", shown, re.DOTALL)
    assert command
    assert command[1].endswith(f"localhost:{calls.port_of(rpc.full_name)} {rpc.service}/{rpc.method}")
    assert json.loads(command[2]) == examples()[rpc.full_name].request
    request = json_format.Parse(re.sub(r'"\$\w+"', '"given-before"', command[2]), rpc.request())
    assert "$" not in str(request)
    assert protovalidate.Validator().collect_violations(request) == []


def test_examples_are_sent_to_where_make_up_serves() -> None:
    assert calls.PORTS == PORTS
    assert {calls.port_of(rpc.full_name) for rpc in rpcs()} == set(PORTS.values())


# --- comments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.name)
def test_a_methods_comment_names_the_reasons_it_declares(rpc: Rpc, comments: dict[str, str]) -> None:
    *said, errors = comments[rpc.full_name].split("\n\n")
    assert said
    assert errors.startswith("Errors")
    named = {word for word in re.findall(r"\b[A-Z][A-Z_]+\b", errors) if word in REASONS}
    assert named - COMMON == declared(rpc) - COMMON
    assert declared(rpc) <= named
    elsewhere = {word for word in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", "".join(said)) if word in REASONS}
    assert elsewhere <= declared(rpc) | COMMON


def test_everything_has_a_meaning(comments: dict[str, str]) -> None:
    silent = {
        name
        for name, comment in comments.items()
        # Requests and replies are explained by their method.
        if not comment and name not in WIRED and name.rpartition(".")[2] not in USUAL
    }
    assert silent == set()


def test_comments_fit_on_a_line() -> None:
    wide = [
        f"{path.name}:{number}"
        for path in (ROOT / "protos" / "camino").rglob("*.proto")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "//" in line and len(line) > 130
    ]
    assert wide == []
