"""The trash, the history, the leftovers and what is moved in, with their k-th system call failing, or the process ending before it.

After each point nothing is lost: a session is in its place or whole in the trash, or both; what was said to be done is
done; an error is a `StoreError` that names a path; no descriptor is left open; and the next start leaves nothing
temporary.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from miniclaw.errors import StoreError
from tests.fakes.descriptors import open_descriptors
from tests.fakes.logs import LogRecorder
from tests.fakes.point_os import PointOs
from tests.fakes.snapshots import SnapshotOs
from tests.faults.fault_kinds import FAULTS, calls_of
from tests.faults.file_work import WORKS, Told, Work, start
from tests.faults.migration_work import MIGRATIONS
from tests.faults.state_work import STATE_WORKS

ALL_WORKS: Final = WORKS | MIGRATIONS | STATE_WORKS


def perform(work: Work, root: Path, fs: PointOs | SnapshotOs) -> Iterator[str]:
    """Do the work, and yield what is wrong with what it said."""
    told = Told()
    before = open_descriptors()
    try:
        work.run(root, fs, told)
    except StoreError as error:
        told.failed = str(error)
        if str(root) not in told.failed:
            yield f"names no path: {error}"
    except OSError as error:
        told.failed = str(error)
        yield f"a foreign error came out: {error!r}"
    if leaked := open_descriptors() - before:
        yield f"descriptors leaked: {leaked}"
    yield from work.check(root, told, False)
    start(root)
    yield from (f"after the start: {sentence}" for sentence in work.check(root, told, True))
    if isinstance(fs, PointOs) and not fs.act.made:
        yield "nothing was done"
    if not told.done and not told.failed:
        yield "nothing was said"


@pytest.mark.parametrize("name", ALL_WORKS)
def test_work_with_faults_loses_nothing(name: str, tmp_path: Path, logs: LogRecorder) -> None:
    """Whichever call fails, and however, nothing is lost and the truth is told."""
    work = ALL_WORKS[name]
    wrong: list[str] = []
    number = 0
    for kind, make in FAULTS.items():
        for k in calls_of(kind):
            number += 1
            root = tmp_path / str(number)
            root.mkdir()
            work.lay(root)
            act = make(k)
            wrong += [f"{kind} at call {k} ({act.hit}): {sentence}" for sentence in perform(work, root, PointOs(act))]
            shutil.rmtree(root)
            if not act.hit:
                assert kind != "EIO" or k > work.least
                break
    logs.events.clear()  # what cannot be listed, put back or taken back is told
    assert not wrong, "\n".join(wrong[:40])


@pytest.mark.parametrize("name", ALL_WORKS)
def test_work_that_ends_anywhere_loses_nothing(name: str, tmp_path: Path, logs: LogRecorder) -> None:
    """Before whichever call the process dies, what it leaves is whole, and the next start tidies up."""
    work = ALL_WORKS[name]
    wrong: list[str] = []
    for k in itertools.count(1):
        root, left = tmp_path / f"{k}", tmp_path / f"{k} left"
        root.mkdir()
        work.lay(root)
        fs = SnapshotOs()
        fs.copy_before(k, root, left)
        told = Told()
        work.run(root, fs, told)
        assert told.done
        if not left.exists():
            assert k > work.least
            break
        for started in (False, True):
            if started:
                start(left)
            wrong += [f"killed at call {k}, {started=}: {sentence}" for sentence in work.check(left, Told(), started)]
        shutil.rmtree(root)
        shutil.rmtree(left)
    logs.events.clear()
    assert not wrong, "\n".join(wrong[:40])
