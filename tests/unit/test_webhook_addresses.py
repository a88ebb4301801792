"""Where webhooks may be: by their URL when they're put, and by their address when they're connected to."""

from __future__ import annotations

import pytest

from services.segment.config import SegmentConfig
from services.segment.webhooks.networks import Networks
from services.segment.webhooks.urls import problem

USUAL = SegmentConfig().webhook_networks.split(",")


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("93.184.215.14", USUAL, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", USUAL, True),
        ("10.1.2.3", USUAL, True),
        ("10.1.2.3", ["public"], False),
        ("10.1.2.3", ["public", "10.1.0.0/16"], True),
        ("10.2.2.3", ["public", "10.1.0.0/16"], False),
        ("127.0.0.1", ["public", "private"], False),
        ("::1", ["loopback"], True),
        # Link-local addresses, in all the ways they can be written.
        ("169.254.169.254", USUAL, False),
        ("::ffff:169.254.169.254", USUAL, False),
        ("64:ff9b::a9fe:a9fe", USUAL, False),
        ("64:ff9b:1::a9fe:a9fe", USUAL, False),
        ("::ffff:0:169.254.169.254", USUAL, False),
        ("::169.254.169.254", USUAL, False),
        ("2002:a9fe:a9fe::1", USUAL, False),
        ("fe80::1%eth0", USUAL, False),
        ("fec0::1", USUAL, False),
        ("169.254.169.254", ["169.254.0.0/16"], True),
        # What clouds tell their machines of themselves at other addresses.
        ("168.63.129.16", USUAL, False),
        ("100.100.100.200", USUAL, False),
        ("fd00:ec2::254", USUAL, False),
        ("fd00:ec3::254", USUAL, True),
        # Nobody's, and everybody's.
        ("0.0.0.0", USUAL, False),
        ("::", USUAL, False),
        ("224.0.0.1", USUAL, False),
        ("ff02::1", USUAL, False),
        ("255.255.255.255", USUAL, False),
        ("64:ff9b::5db8:d70e", ["public"], True),
    ],
)
def test_an_address_is_reached_only_where_it_is_allowed(address: str, networks: list[str], allowed: bool) -> None:
    assert Networks(networks).allow(address) is allowed


def test_a_setting_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="everything"):
        SegmentConfig(webhook_networks="public,everything")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("https://decisions.example.com/camino?key=1", ""),
        ("https://[2606:2800:21f::1]:8443/", ""),
        ("https://bücher.example/hook", ""),
        ("http://localhost:8080/hook", ""),
        ("http://127.0.0.1/hook", ""),
        ("http://[::1]/hook", ""),
        ("http://decisions.example.com/", "must begin with https://; CAMINO_WEBHOOK_HTTP allows plain http"),
        ("http://localhost.example.com/", "must begin with https://; CAMINO_WEBHOOK_HTTP allows plain http"),
        ("ftp://decisions.example.com/", "must begin with https://"),
        ("decisions.example.com/hook", "must begin with https://"),
        ("https:///hook", "must have a host, and no spaces"),
        ("https://decisions.example.com/a b", "must have a host, and no spaces"),
        ("https://user@decisions.example.com/", "must have no user and no password; messages are signed"),
        ("https://:secret@decisions.example.com/", "must have no user and no password; messages are signed"),
        ("https://decisions.example.com/#", "must have no fragment; nobody would be sent it"),
        ("https://decisions.example.com:99999/", "isn't a URL; write it like https://decisions.example.com/camino"),
        ("https://[::1/", "isn't a URL; write it like https://decisions.example.com/camino"),
    ],
)
def test_a_url_is_taken_or_said_to_be_wrong(url: str, wrong: str) -> None:
    assert problem(url, http=False) == wrong


def test_plain_http_is_taken_where_the_setting_allows_it() -> None:
    assert problem("http://decisions.example.com/", http=True) == ""
