"""Changes that another program, or a person with an editor, makes to the file of the session `web_1`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.samples import session_dict

WEB_1 = "web_1"


async def say(manager: SessionManager, clock: WallClock, text: str) -> None:
    await manager.add_message(WEB_1, Message("user", text, clock.now))


def texts(path: Path) -> list[str]:
    return [message["content"] for message in json.loads(path.read_bytes())["messages"]]


def quarantined(path: Path) -> list[Path]:
    return sorted((path.parent / ".quarantine").glob("*"))


def edit(path: Path, text: str = "edited") -> None:
    """Change a message in place, as an editor does that keeps the file."""
    path.write_bytes(path.read_bytes().replace(b"secret", text.encode()))


def replace(path: Path, text: str = "restored") -> None:
    """Put another file in the place, as `cp`, an editor or a backup does that renames."""
    other = path.with_name("other.tmp")
    other.write_bytes(path.read_bytes().replace(b"secret", text.encode()))
    shutil.copystat(path, other)
    os.replace(other, path)


def change_fields(**fields: object) -> Callable[[Path], object]:
    """Return a change by hand of some fields of a session."""
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


def rate(path: Path) -> None:
    """Add a field to the first message."""
    session = json.loads(path.read_bytes())
    session["messages"][0]["rating"] = 5
    path.write_text(json.dumps(session))


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def misname(path: Path) -> None:
    path.write_text(json.dumps(session_dict("web_2", datetime.now(UTC))))


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere.json")
