"""The household, and the day that its administrator has with it."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.fakes.samples import write_session
from tests.transcript.terminal import Terminal, plain

_SEED: Final = 20261125
_CHANNELS: Final = ("telegram", "web", "console")
_WORDS: Final = [
    "about",
    "bread",
    "call",
    "dinner",
    "every",
    "friend",
    "garden",
    "house",
    "idea",
    "just",
    "kitchen",
    "letter",
    "more",
    "never",
    "open",
    "please",
]

_CONFIG: Final = """[session]
max_sessions = 40
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
        command = f"$ miniclaw {' '.join(args)}".replace(str(self.terminal.home), "~/.miniclaw")
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
                "content": " ".join(chance.choices(_WORDS, k=chance.randint(1, 500))),
                "timestamp": used.isoformat(),
            }
            for _ in range(chance.randint(1, 12))
        ]
        write_session(sessions, f"{channel}_{4100 + number}", used, messages=lines)
    write_session(sessions, "telegram_anna", now - timedelta(days=47))
    write_session(sessions, "web_bernd", now - timedelta(days=2))
    (sessions / "web_4711.json").write_text('{"session_id": "web_4711", "chan', encoding="utf-8")
    (sessions / "notes.txt").write_text("not a session", encoding="utf-8")
    conflict = sessions / "web_bernd.sync-conflict-20261128-071502-ABCDEF7.json"
    conflict.write_bytes((sessions / "web_bernd.json").read_bytes())
    corrupted = sessions / "telegram_4099.json.corrupted"
    corrupted.write_text("{", encoding="utf-8")
    long_ago = (now - timedelta(days=90)).timestamp()
    os.utime(corrupted, (long_ago, long_ago))
    quarantine = sessions / ".quarantine"
    quarantine.mkdir(mode=0o700)
    (quarantine / f"web_17.json.{now - timedelta(days=100):%Y%m%dT%H%M%SZ}-0123abcd").write_text("{", encoding="utf-8")
    clara = write_session(sessions, "web_clara", now - timedelta(days=6))
    clara.rename(quarantine / f"web_18.json.{now - timedelta(days=5):%Y%m%dT%H%M%SZ}-4567cdef")


def tell(story: Story) -> None:
    """Run the day."""
    story.say("In the morning, the administrator looks at the workspace:")
    story.run("status")
    story.run("sessions", "stats")
    story.run("sessions", "list", "--older-than", "25d", "--limit", "6")
    story.say("Anna's conversation is kept, however long she is away:")
    story.run("sessions", "pin", "telegram_anna")
    story.say("The daily cleanup will delete these sessions soon, unless they are used:")
    story.run("sessions", "due")
    story.say(
        "A new configuration: at most forty sessions, a week in the trash, and no large removal without a question:"
        f"\n\n```toml\n{_CONFIG}```"
    )
    story.terminal.write_config(_CONFIG)
    story.run("sessions", "cleanup", "--dry-run", picture=True)
    story.run("sessions", "forecast", "--days", "10", picture=True)
    story.say("The guard holds the cleanup:")
    story.run("sessions", "cleanup", "--yes", code=1)
    story.say("The removal is intended, and the administrator confirms it:")
    story.run("sessions", "cleanup", "--confirm", answer="y\n")
    story.say("A person misses a deleted conversation:")
    listed = story.run("trash", "list")
    session_id = next(line.split()[0] for line in listed.splitlines() if line.startswith("telegram_"))
    story.run("trash", "restore", session_id)
    story.say("A damaged file has the place of a session, and Clara's conversation is in a file of another name:")
    story.run("quarantine", "add", "web_4711.json")
    story.run("quarantine", "list")
    story.run("quarantine", "show", "web_4711")
    story.run("quarantine", "restore", "4567cdef")
    story.run("quarantine", "delete", "web_4711", answer="y\n")
    story.say("Bernd asks for his data, and then for its erasure:")
    export = str(story.terminal.home / "web_bernd.md")
    story.run("sessions", "export", "web_bernd", "--format", "markdown", "-o", export)
    story.run("sessions", "delete", "web_bernd", "--erase", answer="y\n", code=1)
    story.say("Anna has a new account, and continues her conversation there:")
    story.run("sessions", "move", "telegram_anna", "telegram_5550101")
    story.say("In the evening, the administrator reviews the day:")
    story.run("history")
    story.run("status")
