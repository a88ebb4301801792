"""Well-known formats of strings: values that have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from buf.validate import validate_pb2
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_HOST = r"([a-z0-9][a-z0-9-]{0,9}[a-z0-9]\.){0,2}[a-z][a-z0-9]{0,9}\Z"
_NAME = r"([A-Za-z_][A-Za-z0-9_]{0,9}\.){0,2}[A-Za-z_][A-Za-z0-9_]{0,9}\Z"


@dataclass(frozen=True, slots=True)
class Format:
    values: Callable[[Any], SearchStrategy[str]]
    """Given what the option asks for: true, or which regular expression."""
    example: Callable[[Any], str]

    def near(self, asked: Any) -> Iterator[str]:
        """Strings that haven't it, though some nearly."""
        example = self.example(asked)
        yield from (f"{example}\n", f" {example}", f"{example}\x00", "-not it@@", "%")


def _format(example: str, values: SearchStrategy[str]) -> Format:
    return Format(lambda _: values, lambda _: example)


def _matching(example: str, pattern: str) -> Format:
    return _format(example, st.from_regex(rf"\A{pattern}"))


def _with_port(host: str) -> str:
    return f"{host}:443"


_hosts = st.from_regex(rf"\A{_HOST}")
_v4 = st.ip_addresses(v=4).map(str)
_v6 = st.ip_addresses(v=6).map(str)
_networks_v4 = st.integers(0, (1 << 24) - 1).map(lambda bits: f"{bits >> 16}.{bits >> 8 & 255}.{bits & 255}.0/24")
_networks_v6 = st.integers(0, (1 << 16) - 1).map(lambda bits: f"2001:db8:{bits:x}::/48")
_uris = st.from_regex(r"\Ahttps://[a-z]{1,9}\.example(/[a-z0-9]{1,9}){0,3}(\?[a-z]{1,3}=[0-9]{1,3})?\Z")
_REGEXES = {
    validate_pb2.KNOWN_REGEX_HTTP_HEADER_NAME: ("X-Example", r"\A[A-Za-z][A-Za-z0-9-]{0,19}\Z"),
    validate_pb2.KNOWN_REGEX_HTTP_HEADER_VALUE: ("example", r"\A[ -~]{0,20}\Z"),
}

FORMATS: Mapping[str, Format] = {
    "email": _matching("someone@example.com", rf"[a-z0-9._+-]{{1,12}}@{_HOST}"),
    "hostname": _format("www.example.com", _hosts),
    "ip": _format("192.0.2.1", _v4 | _v6),
    "ipv4": _format("192.0.2.1", _v4),
    "ipv6": _format("2001:db8::1", _v6),
    "uri": _format("https://www.example.com/a?b=1", _uris),
    "uri_ref": _format("/a?b=1", st.from_regex(r"\A(/[a-z0-9]{1,9}){0,3}(#[a-z]{1,3})?\Z") | _uris),
    "address": _format("www.example.com", _hosts | _v4 | _v6),
    "uuid": _format("6ba7b810-9dad-41d1-80b4-00c04fd430c8", st.uuids().map(str)),
    "tuuid": _format("6ba7b8109dad41d180b400c04fd430c8", st.uuids().map(lambda uuid: uuid.hex)),
    "ip_with_prefixlen": _format("192.0.2.1/24", _v4.map("{}/24".format) | _v6.map("{}/64".format)),
    "ipv4_with_prefixlen": _format("192.0.2.1/24", _v4.map("{}/24".format)),
    "ipv6_with_prefixlen": _format("2001:db8::1/64", _v6.map("{}/64".format)),
    "ip_prefix": _format("192.0.2.0/24", _networks_v4 | _networks_v6),
    "ipv4_prefix": _format("192.0.2.0/24", _networks_v4),
    "ipv6_prefix": _format("2001:db8::/48", _networks_v6),
    "host_and_port": _format("www.example.com:443", _hosts.map(_with_port) | _v4.map(_with_port)),
    "ulid": _matching("01ARZ3NDEKTSV4RRFFQ69G5FAV", r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z"),
    "protobuf_fqn": _matching("example.v1.Name", _NAME),
    "protobuf_dot_fqn": _matching(".example.v1.Name", rf"\.{_NAME}"),
    "well_known_regex": Format(
        lambda which: st.from_regex(_REGEXES[which][1]),
        lambda which: _REGEXES[which][0],
    ),
}
