"""Write what is made of sources in this directory: `python -m deploy.monitoring.generate`."""

from __future__ import annotations

from deploy.monitoring.generate.files import HERE, files


def main() -> None:
    fresh = files()
    for path, text in fresh.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for old in (HERE / "dashboards").glob("*.json"):
        if old not in fresh:
            old.unlink()


if __name__ == "__main__":
    main()
