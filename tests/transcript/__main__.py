"""`python -m tests.transcript`: run an administrator's day and write it down; `nox -s transcript` calls this."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.fakes.samples import write_session
from tests.transcript.terminal import Terminal, plain, write_picture

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "administrators-day.md"
PICTURE: Final = DOCS / "images" / "dry-run-and-forecast.svg"

_SEED: Final = 20261125
_CHANNELS: Final = ("telegram", "web", "console")

_CONFIG: Final = """[session]
trash_for = "7d"
max_removed_fraction = 0.25

[session.ttl_by_channel]
console = "14d"
"""


class Story:
    """Runs commands one after the other, and keeps what a person would read."""

    def __init__(self, home: Path) -> None:
        self.terminal = Terminal(home)
        self.page: list[str] = []
        self.pictured: list[str] = []

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.page.append(text.strip() + "\n")

    def run(self, *args: str, code: int = 0, answer: str = "", prompt: str = "[y/N]", picture: bool = False) -> str:
        """Run a command and add what it shows.

        Raises:
            AssertionError: It ended otherwise than the story says.
        """
        found, shown = self.terminal.show(*args, prompt=prompt if answer else "", answer=answer)
        assert found == code, f"{args}: exit code {found}, not {code}:\n{shown}"
        command = f"$ miniclaw {' '.join(args)}"
        told = plain(shown) + (f"\n(exit code {code})" if code else "")
        self.page.append(f"```console\n{command}\n{told}\n```\n")
        if picture:
            self.pictured.append(f"\x1b[1m{command}\x1b[0m\n{shown}")
        return told


def furnish(home: Path) -> None:
    """Write the sessions of a household of talkative people, and what an earlier program has left."""
    chance = random.Random(_SEED)  # noqa: S311 - the same household every time
    now = datetime.now(UTC)
    sessions = home / "workspace" / "sessions"
    for number in range(60):
        channel = chance.choice(_CHANNELS)
        used = now - timedelta(days=chance.triangular(0, 60, 4), hours=chance.random())
        lines = [
            {
                "role": chance.choice(("user", "assistant")),
                "content": "lorem ipsum " * chance.randint(1, 400),
                "timestamp": used.isoformat(),
            }
            for _ in range(chance.randint(1, 12))
        ]
        write_session(sessions, f"{channel}_{4100 + number}", used, messages=lines)
    write_session(sessions, "telegram_anna", now - timedelta(days=47))
    (sessions / "web_4711.json").write_text('{"session_id": "web_4711", "chan', encoding="utf-8")
    (sessions / "notes.txt").write_text("not a session", encoding="utf-8")


def tell(story: Story) -> None:
    """Run the day."""
    story.say("In the morning: what is there, and what would go?")
    story.run("status")
    story.run("sessions", "stats")
    story.run("sessions", "list", "--older-than", "25d", "--limit", "6")
    story.run("sessions", "cleanup", "--dry-run", picture=True)
    story.run("sessions", "forecast", "--days", "10", picture=True)
    story.say("Anna's conversation is to stay, however long she is away:")
    story.run("sessions", "pin", "telegram_anna")
    story.say(
        f"From now on what goes can be had back for a week, and nothing large goes unasked:\n\n```toml\n{_CONFIG}```"
    )
    story.terminal.write_config(_CONFIG)
    story.say("The guard does its work:")
    story.run("sessions", "cleanup", "--yes", code=1)
    story.say("That was meant, so:")
    story.run("sessions", "cleanup", "--confirm", answer="y\n")
    story.say("Somebody asks after a conversation that is gone:")
    listed = story.run("trash", "list")
    entry = next(line.split()[0] for line in listed.splitlines() if line.startswith("telegram_"))
    story.run("trash", "restore", entry)
    story.say("Somebody else asks for their data, and then for its erasure:")
    story.run("sessions", "export", "web_4105", "--format", "markdown", "-o", "web_4105.md")
    story.run("sessions", "delete", "web_4105", "--erase", answer="y\n")
    story.say("In the evening: what was done?")
    story.run("history")
    story.run("status")


def main() -> int:
    """Run the day; write the page and its picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.transcript", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only run it; write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory(prefix="miniclaw-day-") as folder:
        home = Path(folder).resolve() / "home"
        furnish(home)
        story = Story(home)
        tell(story)
    if not check:
        PICTURE.parent.mkdir(exist_ok=True)
        write_picture(PICTURE, "miniclaw", "\n\n".join(story.pictured))
        PAGE.write_text("\n".join([_HEAD, *story.page]), encoding="utf-8")
    return 0


_HEAD: Final = """# A day in an administrator's life

Every line that begins with `$` was typed into the program, and what follows is what it showed; `nox -s transcript` runs
the day again and writes this page.

![Dry run and forecast](images/dry-run-and-forecast.svg)
"""


if __name__ == "__main__":
    sys.exit(main())
