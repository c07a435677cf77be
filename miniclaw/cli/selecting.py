"""Which sessions a command is to delete: some by their ids, or all of a channel, of a chat, or of a chat on a channel.

For an erasure their copies count as well: entries of the trash, files in quarantine, and what an earlier implementation
has left. Whose a damaged one is, its name has to tell; see `miniclaw.session.names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import unquote

from msgspec import Struct, field

from miniclaw.cli import Settings
from miniclaw.cli.looking import find_leftovers, find_trash, list_directory
from miniclaw.errors import InvalidSessionIdError, SessionNotFoundError
from miniclaw.session import names
from miniclaw.session.directory import QUARANTINE_NAME, SessionDirectory
from miniclaw.session.leftovers import session_file_of
from miniclaw.session.rows import Leftover, ProblemFile, StoredSession
from miniclaw.session.trash_rows import TrashEntry


class Copy(Struct):
    """A file of the trash, of the quarantine, or of an earlier implementation.

    Attributes:
        session_id: Whose it is.
        place: Its folder, for a person, and its name there; its name alone where it lies among the sessions.
        size: Bytes.
        since: When it came there, aware.
    """

    session_id: str
    place: str
    size: int
    since: datetime


class Selection(Struct):
    """What is to go.

    Attributes:
        sessions: The sessions in their places.
        copies: What is kept of them elsewhere, and of sessions that are gone already.
        kept: Files that are of these sessions, or may be, and do not go: they cannot be read, or it is not known whose
            they are.
    """

    sessions: list[StoredSession] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    kept: list[ProblemFile] = field(default_factory=list)

    @property
    def session_ids(self) -> list[str]:
        """All sessions of which something is to go, sorted."""
        found = {session.header.session_id for session in self.sessions}
        return sorted(found | {copy.session_id for copy in self.copies})

    @property
    def bytes(self) -> int:
        """The sizes of all that is to go, added up."""
        return sum(session.size for session in self.sessions) + sum(copy.size for copy in self.copies)


class _Wish(Protocol):
    def is_for(self, session_id: str) -> bool:
        """Return whether a session is meant."""
        ...

    def whose(self, name: str) -> str | None:
        """Return the session that is meant, and whose file has this name; None: there is none, or it does not tell."""
        ...

    def may_be_for(self, name: str) -> bool:
        """Return whether a file of this name may be of a session that is meant."""
        ...


class _ByIds:
    def __init__(self, session_ids: Iterable[str]) -> None:
        self._names = {name: session_id for session_id in session_ids for name in names.file_names(session_id)}
        self._ids = frozenset(self._names.values())

    def is_for(self, session_id: str) -> bool:
        return session_id in self._ids

    def whose(self, name: str) -> str | None:
        return self._names.get(name)

    def may_be_for(self, name: str) -> bool:
        return name in self._names


class _ByChat:
    """All of a channel, of a chat, or of a chat on a channel."""

    def __init__(self, channel: str | None, chat_id: str | None) -> None:
        self._channel = channel
        self._chat_id = chat_id

    def is_for(self, session_id: str) -> bool:
        channel, _, chat_id = session_id.partition("_")
        return self._channel in {None, channel} and self._chat_id in {None, chat_id}

    def whose(self, name: str) -> str | None:
        channel, _, rest = name.removesuffix(names.SUFFIX).partition("_")
        chat_id = unquote(rest) if self._chat_id is None else self._chat_id
        session_id = f"{channel}_{chat_id}"
        try:
            is_its_name = name in names.file_names(session_id)
        except InvalidSessionIdError:
            return None
        return session_id if is_its_name and self.is_for(session_id) else None

    def may_be_for(self, name: str) -> bool:
        if self._chat_id is not None:
            return self.whose(name) is not None
        return name.startswith(f"{self._channel}_")


def select_by_id(
    settings: Settings, directory: SessionDirectory | None, session_ids: Sequence[str], now: datetime, *, erase: bool
) -> Selection:
    """Select sessions by their ids.

    Raises:
        InvalidSessionIdError: A text is the id of no session.
        SessionNotFoundError: There is no such session; for an erasure, nothing of it in trash or quarantine either.
        SessionFileError: One cannot be read, and will not be deleted.
    """
    selection = Selection()
    if erase:
        _add_copies(selection, settings, directory, _ByIds(session_ids), now)
    with_copies = {copy.session_id for copy in selection.copies}
    for session_id in dict.fromkeys(session_ids):
        session = _find(directory, session_id)
        if session is not None:
            selection.sessions.append(session)
        elif session_id not in with_copies:
            raise SessionNotFoundError(session_id)
    return selection


def _find(directory: SessionDirectory | None, session_id: str) -> StoredSession | None:
    names.split_session_id(session_id)
    try:
        return None if directory is None else directory.find(session_id)
    except SessionNotFoundError:
        return None


def select_by_chat(
    settings: Settings,
    directory: SessionDirectory | None,
    channel: str | None,
    chat_id: str | None,
    now: datetime,
    *,
    erase: bool,
) -> Selection:
    """Select all sessions of a channel, of a chat on any channel, or of a chat on one channel."""
    wish = _ByChat(channel, chat_id)
    listing = list_directory(directory)
    selection = Selection(
        [row for row in listing.sessions if wish.is_for(row.header.session_id)],
        kept=[problem for problem in listing.problems if wish.may_be_for(problem.key)],
    )
    selection.sessions.sort(key=lambda row: row.header.session_id)
    if erase:
        _add_copies(selection, settings, directory, wish, now)
    return selection


def _add_copies(
    selection: Selection, settings: Settings, directory: SessionDirectory | None, wish: _Wish, now: datetime
) -> None:
    leftovers = find_leftovers(settings, directory, now)
    _add_trash(selection, find_trash(settings).entries(), wish)
    _add_leftovers(selection, leftovers, wish)


def _add_trash(selection: Selection, entries: Iterable[TrashEntry], wish: _Wish) -> None:
    for entry in entries:
        if entry.session_id is None:
            session_id = wish.whose(entry.key)
        else:
            session_id = entry.session_id if wish.is_for(entry.session_id) else None
        if session_id is not None:
            selection.copies.append(Copy(session_id, f"trash/{entry.id}", entry.stored_size, entry.removed_at))
        elif entry.session_id is None and wish.may_be_for(entry.key):
            selection.kept.append(_unknown(f"trash/{entry.id}"))


def _add_leftovers(selection: Selection, leftovers: Iterable[Leftover], wish: _Wish) -> None:
    """Add what lies in quarantine, and what an earlier implementation has left and is about to move there."""
    for leftover in leftovers:
        name = session_file_of(leftover)
        if name is None or leftover.since is None:
            continue
        session_id = wish.whose(name)
        place = f"{QUARANTINE_NAME}/{leftover.key}" if leftover.kind == "quarantined" else leftover.key
        if session_id is not None:
            selection.copies.append(Copy(session_id, place, leftover.size, leftover.since))
        elif wish.may_be_for(name):
            selection.kept.append(_unknown(place))


def _unknown(place: str) -> ProblemFile:
    return ProblemFile(place, "unreadable", "its name does not tell whose it is; give the session's ID")
