"""`make permissions`: what each service may do at the broker and at the store, from what the services declare."""

from __future__ import annotations

from pathlib import Path

from deploy.permissions.files import files


def main() -> None:
    for path, content in files(Path(__file__).parents[2]).items():
        path.write_text(content)


if __name__ == "__main__":
    main()
