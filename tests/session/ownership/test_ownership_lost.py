"""An owner whose `.lock` another process has locked changes nothing any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from miniclaw.errors import OwnershipLostError
from miniclaw.session.entries import Leftover
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ownable import Place
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.files.subdirectory import TRASH_NAME, Folder
from miniclaw.session.ownership.holder import LOCK_NAME
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.records.state import RetentionState, StateDirectory
from miniclaw.session.removal.leftovers import remove_leftovers
from miniclaw.session.removal.restore import restore
from miniclaw.session.removal.transaction import remove_batch
from miniclaw.session.retention.noted import Noted
from miniclaw.session.trash.trash import Trash
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.tree import take_tree
from tests.session.ownership.test_ownership import LOST, NOW, SESSION, WEEK, held_elsewhere


def test_check_of_a_file_that_another_process_holds_loses_ownership_for_good(
    directory: SessionDirectory, logs: LogRecorder
) -> None:
    """Where another process has locked a new `.lock`, this one stops, names it, once, and stays so when it is gone."""
    logs.expect_error(LOST)
    path = directory.path / LOCK_NAME
    path.unlink()
    with held_elsewhere(path):
        assert directory.check_place() == Place(lost_to="process 4711")
        assert logs.one(LOST)["holder"] == "process 4711"
    assert directory.check_place() == Place(lost_to="process 4711")
    with pytest.raises(OwnershipLostError, match="process 4711"):
        directory.check_owned()
    assert len(logs.named(LOST)) == 1


def lose(directory: SessionDirectory, logs: LogRecorder) -> None:
    """Have another process take the directory over, and this one see it."""
    logs.expect_error(LOST)
    (directory.path / LOCK_NAME).unlink()
    with held_elsewhere(directory.path / LOCK_NAME):
        directory.check_place()


def leftover(kind: str, key: str) -> Leftover:
    return Leftover(kind, key, 1, NOW)  # type: ignore[arg-type]


def test_lost_owner_changes_nothing(directory: SessionDirectory, logs: LogRecorder) -> None:
    """Saves, removals, quarantine, sweeping, restoring, state and history: each is refused, and nothing is touched."""
    trash = Trash(Folder.within(directory, TRASH_NAME))
    state = StateDirectory.within(directory)
    write_session(directory.path, "web_old", NOW)
    row = directory.find("web_old")
    copy = trash.prepare(row.key, row.header, dir_fd=directory.fd, reason="ttl", by="test", now=NOW, keep_for=WEEK)
    trash.commit([copy])
    known = RetentionState()
    state.write(known)
    state.history().append(HistoryEvent(event="cleanup", at=NOW, by="program"))
    lose(directory, logs)
    before = take_tree(directory.path)
    refused: dict[str, Callable[[], object]] = {
        "save": lambda: directory.write(SESSION),
        "removal": lambda: remove_batch(directory, ["web_old.json"], lambda headers: [True] * len(headers)),
        "quarantine": lambda: quarantine(directory, "web_old.json"),
        "sweeping": lambda: remove_leftovers(directory, [leftover("temporary", "tmp-0")], trash=trash),
        "restoring": lambda: restore(directory, trash, copy.entry_id, NOW),
        "emptying": lambda: trash.remove([copy.entry_id]),
        "copying": lambda: trash.prepare(
            row.key, row.header, dir_fd=directory.fd, reason="ttl", by="test", now=NOW, keep_for=WEEK
        ),
        "state": lambda: state.write(known),
        "time": lambda: state.write_last_seen(b"x"),
        "list": lambda: state.write_due(known.id, Noted(), Noted()),
        "landmark": lambda: state.inodes_last(known),
        "history": lambda: state.history().append(HistoryEvent(event="cleanup", at=NOW, by="program")),
    }
    for what, work in refused.items():
        with pytest.raises(OwnershipLostError, match="process 4711"):
            pytest.fail(f"{what}: {work()}")
        assert take_tree(directory.path) == before, what
    assert directory.load("web_old").session_id == "web_old"  # looking is allowed


def test_lost_owner_says_no_more_in_the_file_of_the_other(directory: SessionDirectory, logs: LogRecorder) -> None:
    """The new `.lock` is the other's: the end of this process is not written into it."""
    lose(directory, logs)
    directory.say_stopping()
    assert (directory.path / LOCK_NAME).read_bytes() == b'{"pid":4711}'
