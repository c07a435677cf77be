"""The live writer: saves, batches, removals with some put back, quarantines, over the store's real code.

It stops at the first error. That is right after a power cut, and a failure of the test before one.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.removal.transaction import remove_batch
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.types import SessionHeader
from tests.powercut.ledger import ABSENT, NOW, STRANGE_PREFIX, Ledger, content, is_old

WRITERS: Final = 3
SESSION_IDS: Final = [f"web_{number}" for number in range(WRITERS * 5)]

_expired = partial(RetentionPolicy().is_expired, ages=Ages.by_wall_clock(NOW))


class StoppedError(Exception):
    """The disk is gone."""


class Writer:
    """Writes some of the sessions, and says in the ledger what the store acknowledged."""

    def __init__(
        self,
        directory: SessionDirectory,
        ledger: Ledger,
        session_ids: Sequence[str],
        chance: random.Random,
        is_cut: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._ids = list(session_ids)
        self._chance = chance
        self._is_cut = is_cut
        self.acknowledgements = 0

    def run(self) -> None:
        """Write until the power is gone.

        Raises:
            StoppedError: It was noticed by an error of the store.
        """
        steps = (self._save, self._save, self._save_batch, self._remove, self._remove, self._quarantine)
        try:
            while not self._is_cut():
                self._chance.choice(steps)()
        except (OSError, StoreError) as error:
            raise StoppedError from error

    def _acknowledge(self, session_id: str, version: int) -> None:
        # A process does not outlive the power. Here it does, and what the kernel tells it then counts for nothing:
        # an fsync of a directory succeeds on xfs after a shutdown, because the abandoned log has let go of it.
        if self._is_cut():
            raise StoppedError
        self._ledger.acknowledge(session_id, version)
        self.acknowledgements += 1

    def _write(self, session_id: str) -> int:
        version = self._ledger.next_version(session_id, old=self._chance.random() < 0.5)
        self._directory.write(content(session_id, version))
        return version

    def _save(self) -> None:
        session_id = self._chance.choice(self._ids)
        version = self._write(session_id)
        self._directory.sync()
        self._acknowledge(session_id, version)

    def _save_batch(self) -> None:
        chosen = self._chance.sample(self._ids, self._chance.randint(2, len(self._ids)))
        versions = {session_id: self._write(session_id) for session_id in chosen}
        self._directory.sync()
        for session_id, version in versions.items():
            self._acknowledge(session_id, version)

    def _remove(self) -> None:
        """Remove what is there, as far as it is expired and not in use; the rest is put back."""
        there = [session_id for session_id in self._ids if self._ledger.acknowledged[session_id] != ABSENT]
        if not there:
            return
        chosen = self._chance.sample(there, self._chance.randint(1, len(there)))

        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            verdicts = []
            for header in headers:
                goes = _expired(header) and self._chance.random() < 0.7
                assert not goes or is_old(self._ledger.acknowledged[header.session_id])
                if goes:
                    self._ledger.begin(header.session_id, ABSENT)
                verdicts.append(goes)
            return verdicts

        keys = {names.file_name(session_id): session_id for session_id in chosen}
        removals = remove_batch(self._directory, list(keys), consent)
        for removal in removals:
            session_id = keys[removal.key]
            if removal.outcome == "removed":
                self._acknowledge(session_id, ABSENT)
            elif removal.outcome == "kept":
                self._acknowledge(session_id, self._ledger.acknowledged[session_id])
        bad = [removal for removal in removals if removal.outcome not in {"removed", "kept"}]
        if bad:
            raise OSError(f"removal failed: {bad}")

    def _quarantine(self) -> None:
        """A damaged file, put there durably by somebody else, makes way for a new session."""
        gone = [session_id for session_id in self._ids if self._ledger.acknowledged[session_id] == ABSENT]
        if not gone or self._chance.random() < 0.5:
            return
        name = names.file_name(gone[0])
        damaged = f"damaged {secrets.token_hex(8)}".encode()
        strange = f"{STRANGE_PREFIX}{secrets.token_hex(4)}"  # no other program tears its files either
        fd = os.open(strange, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=self._directory.fd)
        try:
            os.write(fd, damaged)
            os.fsync(fd)
        finally:
            os.close(fd)
        self._ledger.begin_damage(damaged)
        os.rename(strange, name, src_dir_fd=self._directory.fd, dst_dir_fd=self._directory.fd)
        os.fsync(self._directory.fd)
        if self._is_cut():  # as in _acknowledge
            raise StoppedError
        self._ledger.acknowledge_damage(damaged)
        quarantine(self._directory, name)
        version = self._write(gone[0])
        self._directory.sync()
        self._acknowledge(gone[0], version)


def make_writers(
    directory: SessionDirectory, ledger: Ledger, chance: random.Random, is_cut: Callable[[], bool]
) -> list[Writer]:
    """Make several writers that share the sessions among them."""
    return [
        Writer(directory, ledger, SESSION_IDS[share::WRITERS], random.Random(chance.random()), is_cut)  # noqa: S311
        for share in range(WRITERS)
    ]


def run_writers(
    writers: Sequence[Writer], is_cut: Callable[[], bool], *, beside: Sequence[threading.Thread] = ()
) -> None:
    """Run them until each has stopped, each in a thread of its own, beside other threads that are started with them.

    Raises:
        BaseException: The first failure of one; that it was stopped is none, if the power is gone.
    """
    failures: list[BaseException] = []

    def run(writer: Writer) -> None:
        try:
            writer.run()
        except StoppedError as stopped:
            if not is_cut():
                failures.append(stopped)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [*beside, *(threading.Thread(target=run, args=[writer]) for writer in writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
