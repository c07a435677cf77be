"""Selection of the sessions to delete: by their ids, or all of a channel, of a chat, or of a chat on one channel.

An erasure includes copies: entries of the trash, files in quarantine, and files of an earlier implementation. A damaged
copy is assigned to a session by its name alone; see `miniclaw.session.names`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import unquote

from msgspec import Struct, field

from miniclaw.cli import Settings
from miniclaw.cli.access.looking import Listing, find_leftovers, find_trashes, list_directory
from miniclaw.errors import InvalidSessionIdError, SessionFileError, SessionNotFoundError
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
        session_id: The session of which it is a copy.
        place: Its folder and its name there, for a person; its name alone if it is among the sessions.
        size: Its size in bytes.
        since: The time since which it is there, aware.
    """

    session_id: str
    place: str
    size: int
    since: datetime


class Selection(Struct):
    """The files to delete.

    Attributes:
        sessions: The sessions in their places.
        copies: Copies of these sessions, and of selected sessions that are deleted already.
        kept: Files that belong or may belong to these sessions, and are not deleted: they cannot be read, or their
            session is not certain.
    """

    sessions: list[StoredSession] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    kept: list[ProblemFile] = field(default_factory=list)

    @property
    def session_ids(self) -> list[str]:
        """Ids of all sessions with a file to delete, sorted."""
        found = {session.header.session_id for session in self.sessions}
        return sorted(found | {copy.session_id for copy in self.copies})

    @property
    def bytes(self) -> int:
        """Total size of the files to delete."""
        return sum(session.size for session in self.sessions) + sum(copy.size for copy in self.copies)


class _Wish(Protocol):
    def is_for(self, session_id: str) -> bool:
        """Return whether a session is selected."""
        ...

    def whose(self, name: str) -> str | None:
        """Return the selected session whose file has this name; None: there is none, or the name is not certain."""
        ...

    def may_be_for(self, name: str) -> bool:
        """Return whether a file of this name may belong to a selected session."""
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
    """All sessions of a channel, of a chat, or of a chat on one channel."""

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
        """Return the wish for this session alone; None if it is not selected, or its id is invalid."""
        session_id = f"{channel}_{chat_id}"
        try:
            return _ByIds([session_id]) if self.is_for(session_id) else None
        except InvalidSessionIdError:
            return None


def _cut_names(session_id: str) -> dict[str, bool]:
    """Return the names in quarantine, without stamps, of those files of a session whose names are too long for it.

    The value is True if the name is certain to be this session's. A long name of an earlier implementation is cut
    within the chat id, and may be another session's as well; of our own names, only the suffix after them is cut.
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
        InvalidSessionIdError: A text is no session id.
        SessionNotFoundError: There is no such session; for an erasure, no copy of it either.
        SessionFileError: A session cannot be read, and will not be deleted.
    """
    selection = Selection()
    leftovers: list[Leftover] = []
    listing = Listing()
    if erase:
        listing = list_directory(settings, directory)
        selection.kept += _beside(_ByIds(session_ids), listing)
        leftovers = _add_copies(selection, settings, directory, _ByIds(session_ids), now)
    with_copies = {copy.session_id for copy in selection.copies}
    for session_id in dict.fromkeys(session_ids):
        session = _find(directory, session_id)
        if session is not None:
            selection.sessions.append(session)
        elif session_id not in with_copies and not _kept_for(_ByIds([session_id]), leftovers, listing):
            raise SessionNotFoundError(session_id)
    return selection


def _kept_for(wish: _Wish, leftovers: list[Leftover], listing: Listing) -> bool:
    return bool(_add_leftovers(Selection(), leftovers, wish).kept or _beside(wish, listing))


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
        selection.kept += [each for each in _beside(wish, listing) if each not in selection.kept]
        _add_copies(selection, settings, directory, wish, now)
    return selection


def _add_copies(
    selection: Selection, settings: Settings, directory: SessionDirectory | None, wish: _Wish, now: datetime
) -> list[Leftover]:
    leftovers = find_leftovers(settings, directory, now, refused=_refuse)
    for bin_ in find_trashes(settings, directory):
        _add_trash(selection, bin_, wish)
    _add_leftovers(selection, leftovers, wish)
    return leftovers


def _refuse(error: SessionFileError) -> None:
    """Refuse an erasure: a copy in a folder that cannot be listed would remain unnoticed."""
    raise error


def _beside(wish: _Wish, listing: Listing) -> list[ProblemFile]:
    """Return the files among the sessions that hold messages of selected sessions, or may hold some, and remain."""
    return [
        each
        for each in (*listing.problems, *listing.conflicts, *listing.foreign)
        if without_legacy_suffix(each.key) == each.key
        and ((each.inside and wish.is_for(each.inside)) or any(map(wish.may_be_for, conflict_names.whose(each.key))))
    ]


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
    """Add the files in quarantine, and the files of an earlier implementation, which a cleanup moves there.

    A file in quarantine that contains a session belongs to that session, under any name. Any other file belongs to the
    session that its name identifies. It is kept if the name may, but need not, be that of a selected session. A file
    whose name is too long for quarantine is kept as well, before the name is cut: it would be on its way there.
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
