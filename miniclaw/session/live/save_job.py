"""One save of several sessions by a few threads; each is settled on the trio thread, when it is durable or failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import trio
from msgspec import Struct

from miniclaw.errors import OwnershipLostError, SessionFileError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.on_disk import Written
from miniclaw.session.threads import soon
from miniclaw.session.types import Session

T = TypeVar("T")

log = get_logger("miniclaw.session.manager")


class SaveOutcome(Struct, frozen=True):
    """What became of one session of a save.

    Attributes:
        session: The snapshot.
        error: Why it is not durable; None when it is.
        written: What was done to its file, which may be though it is not durable; None: nothing.
    """

    session: Session
    error: StoreError | None = None
    written: Written | None = None


class SaveReport(Struct, frozen=True):
    """What one `SessionManager.save_all_sessions` did.

    Attributes:
        saved: How many sessions are durable now that were not before.
        failed: Ids of those that could not be saved; they stay in memory, for the next time.
    """

    saved: int = 0
    failed: tuple[str, ...] = ()


class SaveJob:
    """Sessions to be saved, shared by some threads, so that one that hangs holds up nothing but its own file.

    Both deques are changed by any thread, with atomic appends and pops only: who pops an item settles it.
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
        """Save what waits; in a thread."""
        while (session := _pop(self._waiting)) is not None:
            try:
                written = self._directory.save(session)
            except StoreError as error:
                self._settle([SaveOutcome(session, error)])
            except Exception as error:  # noqa: BLE001 - whatever somebody put into a session is that session's error
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
            return  # another thread took them along
        error = None
        try:
            self._directory.sync()
        except StoreError as caught:
            error = caught
        self._settle([SaveOutcome(session, error, written) for session, written in renamed])

    def _settle(self, outcomes: Sequence[SaveOutcome]) -> None:
        # All at once: the trio thread is woken for each call, and would be busy with that while threads save.
        soon(self._token, partial(self._settle_here, outcomes))

    def _settle_here(self, outcomes: Sequence[SaveOutcome]) -> None:
        for outcome in outcomes:
            self._settled(outcome)

    def give_up(self) -> None:
        """Settle what no thread has begun; on the trio thread."""
        while (session := _pop(self._waiting)) is not None:
            path = self._directory.path / names.file_name(session.session_id)
            self._settled(SaveOutcome(session, SessionFileError(path, "not saved before the deadline")))


def _pop(items: deque[T]) -> T | None:
    try:
        return items.popleft()
    except IndexError:
        return None


def log_failed_save(session_id: str, error: StoreError) -> None:
    """Say that a session could not be saved, and why, unless that was said once for all sessions."""
    if isinstance(error, OwnershipLostError):
        return
    log.error(
        "Session could not be saved; it stays in memory for the next try",
        session_id=session_id,
        path=str(getattr(error, "path", "")),
        errno=getattr(error, "errno", None),
        error=str(error),
    )
