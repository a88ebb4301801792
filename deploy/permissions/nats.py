"""The users of the services at NATS, in the forms that take them: a server's configuration, and the values of the
official chart. Neither holds a password: both name variables, of a file beside it and of the server's environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from services.chassis.permissions import Permissions

SECRET = "camino-nats-users"
"""The Kubernetes Secret that the chart takes passwords from, each under its user's name."""


def password_variable(user: str) -> str:
    return f"NATS_{user.replace('-', '_').upper()}_PASSWORD"


def configuration(users: Sequence[Permissions]) -> str:
    """An `authorization` block, for a server's configuration file to include. The passwords stand in `passwords.conf`
    beside it."""
    # The variables of a file aren't known in those that it includes, so this one includes them.
    lines = [
        "include passwords.conf",
        "authorization {",
        "  users: [",
        *(_user(user) for user in users),
        "  ]",
        "}",
        "",
    ]
    return "\n".join(lines)


def passwords(of: Mapping[str, str]) -> str:
    """The file `passwords.conf`, from passwords by user."""
    return "".join(f'{password_variable(user)}: "{password}"\n' for user, password in of.items())


def _user(user: Permissions) -> str:
    return "\n".join(
        [
            "    {",
            f"      user: {user.user}",
            f"      password: ${password_variable(user.user)}",
            "      permissions: {",
            f"        publish: [{_subjects(user.publish)}]",
            f"        subscribe: [{_subjects(user.subscribe)}]",
            "      }",
            "    }",
        ]
    )


def _subjects(subjects: Sequence[str]) -> str:
    return "".join(f'\n          "{subject}"' for subject in subjects) + "\n        "


def chart_values(users: Sequence[Permissions]) -> str:
    """Values to add to others of the official NATS chart (1.x)."""
    values: dict[str, Any] = {
        "config": {
            "merge": {
                "authorization": {
                    "users": [
                        {
                            "user": user.user,
                            # The chart takes the quotes away from what is between these.
                            "password": f"<< ${password_variable(user.user)} >>",
                            "permissions": {"publish": list(user.publish), "subscribe": list(user.subscribe)},
                        }
                        for user in users
                    ]
                }
            }
        },
        "container": {
            "env": {
                password_variable(user.user): {"valueFrom": {"secretKeyRef": {"name": SECRET, "key": user.user}}}
                for user in users
            }
        },
    }
    return str(yaml.safe_dump(values, sort_keys=False, width=120))
