"""Which sessions a command is to delete: some by their ids, or all of a channel, of a chat, or of a chat on a channel.

For an erasure their copies count as well: entries of the trash, files in quarantine, and what an earlier implementation
has left. Whose a damaged one is, its name has to tell; see `miniclaw.session.names`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import unquote

from msgspec import Struct, field

from miniclaw.cli import Settings
from miniclaw.cli.access.looking import find_leftovers, find_trashes, list_directory
from miniclaw.errors import InvalidSessionIdError, SessionNotFoundError
from miniclaw.session import conflict_names, names
from miniclaw.session.entries import Leftover, ProblemFile, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME, quarantined_stem
from miniclaw.session.removal.leftovers import LEGACY_SUFFIXES, session_file_of, without_legacy_suffix
from miniclaw.session.trash.trash import Trash

_NO_ID: Final = "its name does not tell whose it is; give the session's ID"
_CUT: Final = (
    f"its name was longer than {names.MAX_NAME_BYTES} bytes, is cut in quarantine, and may be another session's as well"
)


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
        cut = [(stem, sure, session_id) for session_id in self._ids for stem, sure in _cut_names(session_id).items()]
        self._names |= {stem: session_id for stem, sure, session_id in cut if sure}
        self._in_doubt = frozenset(stem for stem, sure, _ in cut if not sure)

    def is_for(self, session_id: str) -> bool:
        return session_id in self._ids

    def whose(self, name: str) -> str | None:
        return self._names.get(name)

    def may_be_for(self, name: str) -> bool:
        return name in self._names or name in self._in_doubt


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
        session = self._session(channel, chat_id)
        return None if session is None else session.whose(name)

    def may_be_for(self, name: str) -> bool:
        if self._chat_id is None:
            return name.startswith(f"{self._channel}_")
        session = self._session(name.partition("_")[0], self._chat_id)
        return session is not None and session.may_be_for(name)

    def _session(self, channel: str, chat_id: str) -> _ByIds | None:
        """Return the wish for this session alone; None where it is not meant, or there can be no such."""
        session_id = f"{channel}_{chat_id}"
        try:
            return _ByIds([session_id]) if self.is_for(session_id) else None
        except InvalidSessionIdError:
            return None


def _cut_names(session_id: str) -> dict[str, bool]:
    """Return what files of a session are called in quarantine where their names are too long for it; without stamps.

    With each stands whether that is sure to be the session's. A long name of an earlier implementation is cut within
    the chat id, and may be another session's as well; of our own names, only what stood behind them is cut.
    """
    return {
        quarantined_stem(name + suffix): not _is_long(name)
        for name in names.file_names(session_id)
        for suffix in ("", *LEGACY_SUFFIXES)
        if _is_long(name + suffix)
    }


def _is_long(name: str) -> bool:
    return len(os.fsencode(name)) > names.MAX_NAME_BYTES


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
    leftovers: list[Leftover] = []
    conflicts: list[ProblemFile] = []
    if erase:
        conflicts = list_directory(settings, directory).conflicts
        selection.kept += _of_conflicts(_ByIds(session_ids), conflicts)
        leftovers = _add_copies(selection, settings, directory, _ByIds(session_ids), now)
    with_copies = {copy.session_id for copy in selection.copies}
    for session_id in dict.fromkeys(session_ids):
        session = _find(directory, session_id)
        if session is not None:
            selection.sessions.append(session)
        elif session_id not in with_copies and not _kept_for(_ByIds([session_id]), leftovers, conflicts):
            raise SessionNotFoundError(session_id)
    return selection


def _kept_for(wish: _Wish, leftovers: list[Leftover], conflicts: list[ProblemFile]) -> bool:
    return bool(_add_leftovers(Selection(), leftovers, wish).kept or _of_conflicts(wish, conflicts))


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
    listing = list_directory(settings, directory)
    selection = Selection(
        [row for row in listing.sessions if wish.is_for(row.header.session_id)],
        kept=[problem for problem in listing.problems if wish.may_be_for(problem.key)],
    )
    selection.sessions.sort(key=lambda row: row.header.session_id)
    if erase:
        selection.kept += _of_conflicts(wish, listing.conflicts)
        _add_copies(selection, settings, directory, wish, now)
    return selection


def _add_copies(
    selection: Selection, settings: Settings, directory: SessionDirectory | None, wish: _Wish, now: datetime
) -> list[Leftover]:
    leftovers = find_leftovers(settings, directory, now)
    for bin_ in find_trashes(settings, directory):
        _add_trash(selection, bin_, wish)
    _add_leftovers(selection, leftovers, wish)
    return leftovers


def _of_conflicts(wish: _Wish, conflicts: list[ProblemFile]) -> list[ProblemFile]:
    """Return the conflict copies of sessions that are meant, in which messages of a person are left."""
    return [copy for copy in conflicts if _is_copy_for(wish, copy)]


def _is_copy_for(wish: _Wish, copy: ProblemFile) -> bool:
    if copy.inside and wish.is_for(copy.inside):
        return True
    original = conflict_names.original_of(copy.key)
    return original is not None and wish.may_be_for(original)


def _add_trash(selection: Selection, bin_: Trash, wish: _Wish) -> None:
    for entry in bin_.entries():
        place = f"{bin_.path.name}/{entry.id}"
        name = without_legacy_suffix(entry.key)
        if entry.session_id is None:
            session_id = wish.whose(name)
        else:
            session_id = entry.session_id if wish.is_for(entry.session_id) else None
        if session_id is not None:
            selection.copies.append(Copy(session_id, place, entry.stored_size, entry.removed_at))
        elif entry.session_id is None and wish.may_be_for(name):
            selection.kept.append(_unknown(place))


def _add_leftovers(selection: Selection, leftovers: Iterable[Leftover], wish: _Wish) -> Selection:
    """Add what lies in quarantine, and what an earlier implementation has left and is about to move there.

    A file in quarantine that holds a session is that session's, under any name. Of the others, a file that may belong
    to a session that is meant is kept, and so is one with a long name, also before the name is cut: the file would be
    on its way to quarantine.
    """
    for leftover in leftovers:
        name = session_file_of(leftover)
        if name is None or leftover.since is None:
            continue
        session_id, header = wish.whose(name), leftover.header
        place = f"{QUARANTINE_NAME}/{leftover.key}" if leftover.kind == "quarantined" else leftover.key
        if header is not None and leftover.kind == "quarantined":
            if wish.is_for(header.session_id):
                selection.copies.append(Copy(header.session_id, place, leftover.size, leftover.since))
        elif session_id is not None and not _is_long(name):
            selection.copies.append(Copy(session_id, place, leftover.size, leftover.since))
        elif wish.may_be_for(name):
            is_whole = name.endswith(names.SUFFIX) and not _is_long(name)
            selection.kept.append(_unknown(place, _NO_ID if is_whole else _CUT))
    return selection


def _unknown(place: str, reason: str = _NO_ID) -> ProblemFile:
    return ProblemFile(place, "unreadable", reason)
