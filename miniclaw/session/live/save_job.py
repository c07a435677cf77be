"""One save of several sessions by a few threads; each is settled on the trio thread once it is durable or failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio
from msgspec import Struct

from miniclaw.errors import OwnershipLostError, SessionFileError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.on_disk import Written, save
from miniclaw.session.threads import soon
from miniclaw.session.types import Session

T = TypeVar("T")

log: Final = get_logger("miniclaw.session.manager")


class SaveOutcome(Struct, frozen=True):
    """The outcome of a save for one session.

    Attributes:
        session: The snapshot. Its known state follows its file.
        error: The reason why it is not durable; None: it is.
        written: The change of its file, which need not be durable; None: the session was not written.
    """

    session: Session
    error: StoreError | None = None
    written: Written | None = None


class SaveReport(Struct, frozen=True):
    """The outcome of a save for all its sessions.

    Attributes:
        saved: Number of sessions that this save has made durable.
        failed: Ids of the sessions that could not be saved; they remain in memory for the next save.
    """

    saved: int = 0
    failed: tuple[str, ...] = ()


class NotBegunError(SessionFileError):
    """A save whose caller was cancelled, or whose deadline came, before it began; the session stays in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "its save had not begun when the caller stopped waiting")


class SaveJob:
    """Sessions to be saved, shared by several threads, so that a thread that hangs delays only its own file.

    Any thread changes both deques, with atomic appends and pops only: the thread that pops an item settles it.
    """

    def __init__(
        self, directory: SessionDirectory, sessions: Sequence[Session], settled: Callable[[SaveOutcome], None]
    ) -> None:
        self._directory = directory
        self._settled = settled
        self._token = trio.lowlevel.current_trio_token()
        self._waiting = deque(sessions)
        self._renamed: deque[tuple[Session, Written]] = deque()

    def work(self) -> None:
        """Save waiting sessions until none is left; in a worker thread."""
        while (session := _pop(self._waiting)) is not None:
            try:
                written = save(self._directory, session)
            except StoreError as error:
                self._settle([SaveOutcome(session, error)])
            except Exception as error:  # noqa: BLE001 - a value that cannot be encoded fails its own session only
                path = self._directory.path / names.file_name(session.session_id)
                self._settle([SaveOutcome(session, SessionFileError(path, f"could not encode it: {error!r}"))])
            else:
                self._renamed.append((session, written))
        self._sync()

    def _sync(self) -> None:
        renamed = []
        while (file := _pop(self._renamed)) is not None:
            renamed.append(file)
        if not renamed:
            return  # another thread syncs them
        error = None
        try:
            self._directory.sync()
        except StoreError as caught:
            error = caught
        self._settle([SaveOutcome(session, error, written) for session, written in renamed])

    def _settle(self, outcomes: Sequence[SaveOutcome]) -> None:
        # All in one call: each call wakes the trio thread.
        soon(self._token, partial(self._settle_here, outcomes))

    def _settle_here(self, outcomes: Sequence[SaveOutcome]) -> None:
        for outcome in outcomes:
            self._settled(outcome)

    def give_up(self) -> None:
        """Settle as errors the sessions that no thread has begun; on the trio thread."""
        while (session := _pop(self._waiting)) is not None:
            path = self._directory.path / names.file_name(session.session_id)
            self._settled(SaveOutcome(session, NotBegunError(path)))


def _pop(items: deque[T]) -> T | None:
    try:
        return items.popleft()
    except IndexError:
        return None


def log_failed_save(session_id: str, error: StoreError) -> None:
    """Log a failed save; that ownership was lost is logged once for all sessions, and a cancellation is no failure."""
    if isinstance(error, OwnershipLostError):
        return
    if isinstance(error, NotBegunError):
        log.debug("Save did not begin; the session stays in memory for the next try", session_id=session_id)
        return
    log.error(
        "Session could not be saved; it stays in memory for the next try",
        session_id=session_id,
        path=str(getattr(error, "path", "")),
        errno=getattr(error, "errno", None),
        error=str(error),
    )
