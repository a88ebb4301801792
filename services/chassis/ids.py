"""Ids: new ones that sort by time, derived ones that are the same for the same facts, and partitions."""

from __future__ import annotations

import zlib

import uuid_utils

_NAMESPACE = uuid_utils.UUID("6f1c7d0e-52a4-5c0b-9d83-0c1a6d2f7b11")


def new_id() -> str:
    """A UUIDv7 (RFC 9562): unique, and later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


def derive_id(*parts: str) -> str:
    """A UUIDv5 (RFC 9562) over the parts: the same facts always have the same id, whoever derives it, and however
    often."""
    return str(uuid_utils.uuid5(_NAMESPACE, "\x1f".join(parts)))


def partition_of(key: str, partitions: int) -> int:
    """The partition that a key belongs to: stable across processes and releases (CRC-32 modulo the number of
    partitions)."""
    return zlib.crc32(key.encode()) % partitions
