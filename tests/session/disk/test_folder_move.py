"""The move of files between two folders: a file counts as moved once that is durable, and is named if it is not."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from miniclaw.session.disk.folder_move import FolderMove
from tests.fakes.os_calls import FaultyOs


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """An old folder with four files, and a new one; both open."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "old" / name).write_text(name)
    opened = [os.open(tmp_path / name, os.O_RDONLY) for name in ("old", "new")]
    yield opened[0], opened[1]
    for fd in opened:
        os.close(fd)


@pytest.mark.parametrize(("failing", "which"), [("old", 0), ("new", 1)])
def test_files_of_a_move_that_cannot_be_synced_have_failed(
    folders: tuple[int, int], fs: FaultyOs, failing: str, which: int
) -> None:
    """Renamed or deleted, they may reappear in the old place after a power cut: none counts as moved."""
    move = FolderMove(fs, *folders)
    move.put("a", "a")
    move.settle()
    move.put("b", "b")
    move.drop("c")

    def fail(called: str, args: tuple[object, ...]) -> None:
        if called == "fsync" and args[0] == folders[which]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    fs.on(fail)
    with pytest.raises(OSError, match="Input/output error"):
        move.settle()
    assert move.moved == 1
    assert move.failed == dict.fromkeys(("b", "c"), f"could not sync its {failing} folder: Input/output error")
    fs.clear()
    move.put("d", "d")
    move.settle()
    assert move.moved == 2
