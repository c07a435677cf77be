"""A home that an earlier version has written (`tests/fixtures`), laid as if it had been used until a moment ago."""

from __future__ import annotations

import json
import os
import re
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

FIXTURE: Final = Path(__file__).parents[1] / "fixtures" / "workspace-2026-11"
FIXTURE_NOW: Final = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
"""The time at which the fixture was left."""

UNREADABLE: Final = {"web_torn", "web_other"}
"""Names in the place of a session whose files are not that session."""

_TEXT_TIME: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_NAME_TIME: Final = re.compile(r"\d{8}T\d{6}Z")
_GZIP: Final = 16 + zlib.MAX_WBITS


class EarlierHome:
    """A copy of the fixture, and what a person would miss if a later version lost it.

    Args:
        home: Where the copy is laid; must not exist yet.
        now: The time at which the program of that time was there last; whole seconds.

    Attributes:
        sessions: The texts of the session files, by the session's id; those that can be read.
        trash: The texts of the sessions in the trash, by the entry's id; None for the damaged entry.
        quarantined: The content of the file in quarantine.
        events: The history, as its file says it.
    """

    def __init__(self, home: Path, now: datetime) -> None:
        self._by = now - FIXTURE_NOW
        self.sessions: dict[str, bytes] = {}
        self.trash: dict[str, bytes | None] = {}
        self.quarantined = b""
        self.events: list[Any] = []
        for source in sorted((FIXTURE / "home").rglob("*")):
            target = home / self._moved_name(str(source.relative_to(FIXTURE / "home")))
            if source.is_dir():
                target.mkdir(parents=True, mode=0o700)
                continue
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            content = self._lay(source.read_bytes(), target)
            # Git keeps no more of the mode than the x.
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(fd, "wb") as file:
                file.write(content)

    def _lay(self, content: bytes, target: Path) -> bytes:
        """Return the content with its times moved, and note it down as what has to be found again."""
        if target.suffix == ".gz":
            line, session = _unpacked(content)
            self.trash[target.stem] = self._moved(session) if session else None
            # The damaged entry is as long as it was, and as damaged.
            return _packed(self._moved(line)) + _packed(self._moved(session)) if session else content
        if target.suffix == ".ledger":
            return content  # binary: of files that have other inodes now
        content = self._moved(content)
        if target.suffix == ".json" and "sessions" in target.parts and target.stem not in UNREADABLE:
            self.sessions[json.loads(content)["session_id"]] = content
        elif target.parent.name == ".quarantine":
            self.quarantined = content
        elif target.name == "history.jsonl":
            self.events = [json.loads(line) for line in content.splitlines()]
        return content

    def _moved(self, content: bytes) -> bytes:
        """Return a text in which all times are moved; their fractions and zones stay as they are written."""

        def move(match: re.Match[bytes]) -> bytes:
            return _plus(match[0].decode(), "%Y-%m-%dT%H:%M:%S", self._by).encode()

        return _TEXT_TIME.sub(move, content)

    def _moved_name(self, name: str) -> str:
        return _NAME_TIME.sub(lambda match: _plus(match[0], "%Y%m%dT%H%M%SZ", self._by), name)


def _plus(text: str, form: str, by: timedelta) -> str:
    return (datetime.strptime(text, form).replace(tzinfo=UTC) + by).strftime(form)


def _unpacked(entry: bytes) -> tuple[bytes, bytes]:
    """Return the two members of an entry; an empty second one where it is cut off."""
    first = zlib.decompressobj(_GZIP)
    line = first.decompress(entry)
    second = zlib.decompressobj(_GZIP)
    session = second.decompress(first.unused_data)
    return line, session if second.eof else b""


def _packed(text: bytes) -> bytes:
    machine = zlib.compressobj(wbits=_GZIP)
    return machine.compress(text) + machine.flush()
