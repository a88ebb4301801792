"""`make demo`: Camino's main job, on a real cohort, in a minute. `python -m examples.demo <directory>` keeps what it
makes, the logs among it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cli.stack import ROOT, SERVICES, Stack, StackError
from examples.demo import cohort
from examples.demo.api import WORKSPACE, Api
from examples.demo.story import Disappointed, Story

HERE = Path(__file__).parent
CAMPAIGN = "win-back"


@contextmanager
def mail_server(mails: Path) -> Iterator[int]:
    """The inbox as a process of its own; its port."""
    child = subprocess.Popen(
        [sys.executable, "-m", "examples.demo.inbox", str(mails)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield int(child.stdout.readline())
    finally:
        child.terminate()
        child.wait()


def apply(stack: Stack, *files: str) -> None:
    """`camino apply`, as a user would call it."""
    targets = {f"CAMINO_{service.upper()}_TARGET": stack.target(service) for service in SERVICES}
    paths = [argument for name in files for argument in ("-f", str(HERE / name))]
    command = [sys.executable, "-m", "cli.main", "apply", "--workspace", WORKSPACE, *paths]
    environment = {**os.environ, **targets, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise Disappointed(f"camino apply {' '.join(files)} failed")


def play(console: Console, directory: Path) -> None:
    mails = directory / "inbox.jsonl"
    with mail_server(mails) as smtp_port:
        channels = {
            "CAMINO_EMAIL_PROVIDER": "smtp",
            "CAMINO_SMTP_HOST": "127.0.0.1",
            "CAMINO_SMTP_PORT": str(smtp_port),
            "CAMINO_EMAIL_FROM": "CDNOW <hello@example.com>",
            # Short, so that what a killed process had in hand is taken over while you watch.
            "CAMINO_PROVIDER_TIMEOUT_SECONDS": "2",
            "CAMINO_LEASE_SECONDS": "4",
            "CAMINO_ACK_WAIT_SECONDS": "3",
        }
        stack = Stack(directory, dict.fromkeys(SERVICES, 0), environment={"channels": channels})
        console.rule("Camino: a broker, four services and an inbox on this machine")
        began = time.monotonic()
        stack.start()
        try:
            console.print(f"serving after {time.monotonic() - began:.1f} s")
            customers = cohort.load(datetime.now(UTC).date())
            story = Story(Api(stack), customers, mails, console)

            console.rule("1. Real people: every tenth CDNOW customer")
            story.load()

            console.rule("2. Segments, kept true by every event and by time itself")
            apply(stack, "segments.yaml")
            story.segments()

            console.rule("3. A journey: purchase → wait 3 s → loyal? → one of two emails")
            apply(stack, "templates.yaml", "journey.yaml")

            console.rule("4. Triggered: new purchases arrive")
            story.purchases()

            console.rule("5. Scheduled: a win-back campaign; its service is killed on the way")
            story.schedule(CAMPAIGN, rate=250)
            story.watch(CAMPAIGN, until=0.4)
            stack.kill("channels")
            console.print("[bold red]kill -9[/bold red] of the channels service, in the middle of sending")
            stack.start_one("channels")
            stack.wait_serving("channels")
            console.print("started again")
            campaign = story.watch(CAMPAIGN)
            occurrence = campaign.occurrence
            took = occurrence.end_time.ToMicroseconds() - occurrence.start_time.ToMicroseconds()
            rate = occurrence.owed / (took / 1e6)
            console.print(
                f"{occurrence.owed:,} messages ended in {took / 1e6:.1f} s, {rate:.0f} a second with the crash"
            )

            console.rule("6. The account: nobody twice, nobody missing")
            if story.resolve_unknown():
                stack.check()
            story.settle(CAMPAIGN)
            story.account(CAMPAIGN)
        finally:
            stack.stop()


def main(directory: Path | None) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="camino-demo-") as temporary:
        try:
            play(console, directory or Path(temporary))
        except (Disappointed, StackError) as error:
            console.print(f"[bold red]The demo failed:[/bold red] {error}", highlight=False)
            return 1
    console.rule("What to try next")
    console.print(
        "  make up                                        keep a stack running; then, in another terminal:\n"
        "  .venv/bin/camino apply -f examples/demo        publish the demo's templates, segments and journey\n"
        "  .venv/bin/camino send-event purchase --identity email:you@example.com --set value=20 --set cds=2\n"
        "  .venv/bin/camino get profile --identity email:you@example.com     and why you did, or didn't, get a mail\n"
        "  .venv/bin/camino status\n"
        "  README.md                                      how to call the APIs from your own service",
        highlight=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
