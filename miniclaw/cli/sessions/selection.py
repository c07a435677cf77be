"""Selection of the sessions to delete: by their ids, or all of a channel, of a chat, or of a chat on one channel.

An erasure includes copies: entries of the trash, files in quarantine, and files of an earlier implementation. A damaged
copy is assigned to a session by its name alone; see `miniclaw.session.names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import unquote

from msgspec import Struct, field

from miniclaw.errors import InvalidSessionIdError, SessionFileError, SessionNotFoundError
from miniclaw.session import names
from miniclaw.session.entries import Leftover, ProblemFile, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.removal.erase import CUT, NO_ID, ByIds, Remaining, Wish, is_long
from miniclaw.session.removal.leftovers import session_file_of, without_legacy_suffix
from miniclaw.session.trash.trash import Trash
from miniclaw.workspace.workspace import Workspace


class Copy(Struct):
    """A file of the trash, of the quarantine, or of an earlier implementation.

    Attributes:
        place: Its folder and its name there, for a person; its name alone if it is among the sessions.
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

    def _session(self, channel: str, chat_id: str) -> ByIds | None:
        """Return the wish for this session alone; None if it is not selected, or its id is invalid."""
        session_id = f"{channel}_{chat_id}"
        try:
            return ByIds([session_id]) if self.is_for(session_id) else None
        except InvalidSessionIdError:
            return None


def select_by_id(workspace: Workspace, session_ids: Sequence[str], *, erase: bool, dry_run: bool) -> Selection:
    """Select sessions by their ids.

    Without `dry_run`, files that an erasure leaves are searched for only if an id has nothing else: the erasure itself
    names them.

    Raises:
        InvalidSessionIdError: A text is no session id.
        SessionNotFoundError: There is no such session; for an erasure, no copy of it either.
        SessionFileError: A session cannot be read, and will not be deleted.
    """
    selection = Selection()
    leftovers = _add_copies(selection, workspace, ByIds(session_ids)) if erase else []
    with_copies = {copy.session_id for copy in selection.copies}
    missing: list[str] = []
    for session_id in dict.fromkeys(session_ids):
        session = _find(workspace.directory, session_id)
        if session is not None:
            selection.sessions.append(session)
        elif session_id not in with_copies:
            missing.append(session_id)
    if erase and (dry_run or missing):
        remaining = Remaining(workspace.listing().others)
        selection.kept = remaining.of(ByIds(session_ids)) + selection.kept
        wishes = [(each, ByIds([each])) for each in missing]
        missing = [
            each
            for each, wish in wishes
            if not (_add_leftovers(Selection(), leftovers, wish).kept or remaining.of(wish))
        ]
    if missing:
        raise SessionNotFoundError(missing[0])
    return selection


def _find(directory: SessionDirectory | None, session_id: str) -> StoredSession | None:
    names.split_session_id(session_id)
    try:
        return None if directory is None else directory.find(session_id)
    except SessionNotFoundError:
        return None


def select_by_chat(workspace: Workspace, channel: str | None, chat_id: str | None, *, erase: bool) -> Selection:
    """Select all sessions of a channel, of a chat on any channel, or of a chat on one channel."""
    wish = _ByChat(channel, chat_id)
    listing = workspace.listing()
    selection = Selection(
        [row for row in listing.sessions if wish.is_for(row.header.session_id)],
        kept=[problem for problem in listing.problems if wish.may_be_for(problem.key)],
    )
    selection.sessions.sort(key=lambda row: row.header.session_id)
    if erase:
        selection.kept += [each for each in Remaining(listing.others).of(wish) if each not in selection.kept]
        _add_copies(selection, workspace, wish)
    return selection


def _add_copies(selection: Selection, workspace: Workspace, wish: Wish) -> list[Leftover]:
    leftovers = workspace.leftovers(refused=_refuse)
    for bin_ in workspace.trashes:
        _add_trash(selection, bin_, wish)
    _add_leftovers(selection, leftovers, wish)
    return leftovers


def _refuse(error: SessionFileError) -> None:
    """Refuse an erasure: a copy in a folder that cannot be listed would remain unnoticed."""
    raise error


def _add_trash(selection: Selection, bin_: Trash, wish: Wish) -> None:
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
            selection.kept.append(ProblemFile(place, "unreadable", NO_ID))


def _add_leftovers(selection: Selection, leftovers: Iterable[Leftover], wish: Wish) -> Selection:
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
        elif session_id is not None and not is_long(name):
            selection.copies.append(Copy(session_id, place, leftover.size, leftover.since))
        elif wish.may_be_for(name):
            is_whole = name.endswith(names.SUFFIX) and not is_long(name)
            selection.kept.append(ProblemFile(place, "unreadable", NO_ID if is_whole else CUT))
    return selection
