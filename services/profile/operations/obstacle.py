"""What stands in an operation's way."""

from __future__ import annotations


class Obstacle(Exception):
    """A step can't be done now; the message says why to those who wait for the operation, without anything personal.
    It's tried again."""
