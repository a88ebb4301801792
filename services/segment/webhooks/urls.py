"""Which URLs a webhook may have."""

from __future__ import annotations

from ipaddress import ip_address

from yarl import URL


def problem(text: str, *, http: bool) -> str:
    """What is wrong with a webhook's URL; empty if nothing is. `http`: whether it may be reached without TLS, which a
    host on this machine always may."""
    try:
        url = URL(text)
        host = url.host or ""
        url.port  # noqa: B018 - raises for one out of range
    except ValueError:
        return "isn't a URL; write it like https://decisions.example.com/camino"
    if url.scheme not in ("http", "https"):
        return "must begin with https://"
    if not host or text != text.strip() or any(character.isspace() for character in text):
        return "must have a host, and no spaces"
    if url.raw_user is not None or url.raw_password is not None:
        return "must have no user and no password; messages are signed"
    if "#" in text:
        return "must have no fragment; nobody would be sent it"
    if url.scheme == "http" and not http and not _is_loopback(host):
        return "must begin with https://; CAMINO_WEBHOOK_HTTP allows plain http"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
