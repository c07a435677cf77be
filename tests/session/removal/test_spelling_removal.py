"""Removal, recovery and restoring where two sessions have names that a file system takes for one."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import SessionExistsError, SessionNotFoundError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.erase import erase_traces
from miniclaw.session.removal.restore import restore
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import TrashOrder, remove_batch
from miniclaw.session.trash.trash import Trash
from tests.fakes.os_calls import FaultyOs
from tests.fakes.poor_os import PoorOs
from tests.fakes.samples import session_dict, write_session
from tests.session.files.test_spelling import BARE, LOWER, NOW, OLD, OURS, Unchanged, files, in_quarantine, write_bare


@pytest.fixture(params=[True, False], ids=["case only", "poor"])
def fs(request: pytest.FixtureRequest) -> FaultyOs:
    return PoorOs(links=request.param, locks=True, syncs_directories=request.param, modes=True)


# Removal ------------------------------------------------------------------------------------------------------


def swap_before_the_capture(fs: FaultyOs, sessions_dir: Path, content: bytes) -> None:
    """Have bob's session come into the place of Bob's file between the look and the capture of a removal."""

    def hook(called: str, args: tuple[Any, ...]) -> None:
        if called == "rename" and args[0] == BARE and (sessions_dir / BARE).exists():
            (sessions_dir / BARE).unlink()
            (sessions_dir / LOWER).write_bytes(content)

    fs.on(hook)


def all_go(headers: object) -> list[bool]:
    return [True for _ in headers]  # type: ignore[attr-defined]


def test_captured_file_of_another_session_gets_the_name_back_that_it_had(
    directory: SessionDirectory, fs: FaultyOs
) -> None:
    """Where the file has changed in that moment, another session's was captured: it is put back as it was spelled."""
    write_bare(directory.path, "web_Bob")
    content = json.dumps(session_dict("web_bob", NOW)).encode()
    swap_before_the_capture(fs, directory.path, content)
    (removal,) = remove_batch(directory, [BARE], all_go)
    assert removal.outcome == "vanished"
    assert files(directory.path) == [LOWER]
    assert (directory.path / LOWER).read_bytes() == content


def test_captured_file_of_another_session_is_recovered_under_the_name_that_it_had(directory: SessionDirectory) -> None:
    """The same after a crash: the next start goes by what is in the file."""
    folder = directory.path / ".work" / "rm-0123456789abcdef"
    folder.mkdir()
    write_bare(folder, "web_bob", name=BARE)
    assert StagingArea(directory).recover().put_back == 1
    assert files(directory.path) == [LOWER]
    assert directory.find("web_bob").key == LOWER


@pytest.mark.parametrize(
    ("captured", "there", "expected"),
    [(BARE, LOWER, [LOWER, OURS]), (LOWER, BARE, [LOWER, OURS])],
    ids=["Bob's is put back", "bob's is put back"],
)
def test_put_back_leaves_a_file_that_is_spelled_alike_in_its_place(
    directory: SessionDirectory, captured: str, there: str, expected: list[str]
) -> None:
    """Who came meanwhile keeps their file; the one that comes back gets a place that is free, and none is in quarantine."""
    folder = directory.path / ".work" / "rm-0123456789abcdef"
    folder.mkdir()
    write_bare(folder, captured.removesuffix(".json"))
    write_bare(directory.path, there.removesuffix(".json"), NOW)
    StagingArea(directory).recover()
    assert files(directory.path) == sorted(expected)
    assert in_quarantine(directory.path) == []
    for name in expected:
        session_id = json.loads((directory.path / name).read_bytes())["session_id"]
        assert directory.find(session_id).key == name


def test_remove_of_an_earlier_name_with_another_session_in_it_is_none(directory: SessionDirectory) -> None:
    """A file of Bob's earlier name that has somebody else in it does not count for Bob, and stays."""
    path = write_bare(directory.path, "web_else", name=BARE)
    (removal,) = remove_batch(directory, [BARE], all_go)
    assert removal.outcome == "vanished"
    assert path.exists()
    with pytest.raises(SessionNotFoundError):
        directory.load("web_Bob", adopt=True)


def test_restore_where_the_session_is_under_its_earlier_name_is_refused(
    directory: SessionDirectory, trash: Trash
) -> None:
    """As before: what counts as the session is never overwritten, nor is there ever a second file of it."""
    write_session(directory.path, "web_Bob", OLD)
    order = TrashOrder({OURS: "test"}, "test", NOW, timedelta(days=7))
    (removal,) = remove_batch(directory, [OURS], all_go, trash=trash, order=order)
    with Unchanged(write_bare(directory.path, "web_Bob")), pytest.raises(SessionExistsError):
        restore(directory, trash, removal.entry_id, NOW)


def test_erase_leaves_what_an_earlier_implementation_left_of_the_other(
    directory: SessionDirectory, trash: Trash
) -> None:
    """Temporary and damaged files that are spelled otherwise are bob's."""
    kept = [directory.path / f"{LOWER}.tmp", directory.path / ".quarantine" / f"{LOWER}.20261001T083015Z-0a1b2c3d"]
    kept[1].parent.mkdir()
    for path in kept:
        path.write_bytes(b"bob's")
    assert erase_traces(directory, trash, "web_Bob").files == 0
    assert [path.read_bytes() for path in kept] == [b"bob's"] * 2
    (directory.path / f"{OURS}.tmp").write_bytes(b"Bob's")
    assert erase_traces(directory, trash, "web_Bob").files == 1
