"""Sessions whose owner has died: their files, and the journal with all that was said since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.format import codec
from miniclaw.session.journal.overlay import segment_name
from miniclaw.session.journal.records import FORMAT, JOURNAL_NAME, Body, add_body, body, digest, lines, use_body
from miniclaw.session.names import file_name, split_session_id
from miniclaw.session.types import Message, Session

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD: Final = NOW - timedelta(days=40)

FILLING: Final = b"\n" * 4096


class Journalled:
    """A session in the memory of its owner.

    Attributes:
        session: The session.
        bodies: Its records that no segment has yet.
    """

    def __init__(self, session_id: str = "web_a", *, begun: datetime = OLD) -> None:
        self.session = Session(session_id, *split_session_id(session_id), begun, begun)
        self.bodies: list[Body] = []

    def add(self, *texts: str, at: datetime | None = None) -> Journalled:
        """Add messages, and record them; `at` is the time of the use, else that of the last one."""
        session = self.session
        for text in texts:
            session.last_accessed = at or session.last_accessed
            session.messages.append(Message("user", text, session.last_accessed))
        return self.record(len(session.messages) - len(texts))

    def record(self, since: int = 0) -> Journalled:
        """Record the messages from this one on."""
        session = self.session
        before = digest(session.messages[since - 1]) if since else ""
        for n in range(since, len(session.messages)):
            found, before = add_body(session.session_id, session, n, before)
            self.bodies.append(found)
        return self

    def use(self, at: datetime | None = None, *, pinned: bool | None = None) -> Journalled:
        """Use the session, or change its pin, and record that."""
        session = self.session
        session.last_accessed = at or session.last_accessed
        session.pinned = session.pinned if pinned is None else pinned
        self.bodies.append(use_body(session.session_id, session, len(session.messages)))
        return self

    def note_saved(self, upto: int = 0) -> Journalled:
        """Record that the file holds all."""
        self.bodies.append(body("saved", {"s": self.session.session_id, "upto": upto}))
        return self

    def note_void(self) -> Journalled:
        """Record that there is no file any more."""
        self.bodies.append(body("void", {"s": self.session.session_id}))
        return self

    def forget_records(self) -> Journalled:
        """Drop the records that no segment has, as if a deleted segment had held them."""
        self.bodies.clear()
        return self

    def save(self, sessions_dir: Path) -> Path:
        """Write the session's file."""
        sessions_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = sessions_dir / file_name(self.session.session_id)
        path.write_bytes(codec.encode_session(self.session))
        return path

    def take(self) -> list[Body]:
        """Return the records that no segment has; the caller writes them."""
        bodies, self.bodies = self.bodies, []
        return bodies


def segment_of(batches: Sequence[Sequence[Body]], *, first: int = 1, version: int = FORMAT) -> bytes:
    """Return the content of a segment, without what fills it."""
    data = b""
    opening: list[Body] = [body("open", {"v": version})]
    for batch in batches:
        bodies = [*opening, *batch]
        data += lines(first, bodies)
        first += len(bodies)
        opening = []
    return data


def write_segment(
    sessions_dir: Path, *batches: Sequence[Body], number: int = 1, first: int = 1, version: int = FORMAT
) -> Path:
    """Write a segment of the journal; its first record has the number `first`."""
    folder = sessions_dir / JOURNAL_NAME
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / segment_name(number)
    path.write_bytes(segment_of(batches, first=first, version=version) + FILLING)
    return path


def texts(session: Session) -> list[str]:
    """Return the texts of a session's messages."""
    return [message.content for message in session.messages]


def crashed(
    sessions_dir: Path,
    *,
    saved: Sequence[str] = ("one",),
    more: Sequence[str] = ("two",),
    at: datetime = NOW,
    begun: datetime = OLD,
) -> Journalled:
    """Leave `web_a` behind: its file, last used when it began, has `saved`; the journal has `more`, said at `at`."""
    told = Journalled(begun=begun).add(*saved).forget_records()
    if saved:
        told.save(sessions_dir)
    write_segment(sessions_dir, told.add(*more, at=at).take())
    return told


class CountingOs(OsCalls):
    """Counts which files are opened, by their names, in their order."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self.opened.append(path)
        return super().open(path, flags, mode, dir_fd=dir_fd)
