"""Moving in, with the process ending before each of its calls, and the starts after it as well, until nothing is new."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from itertools import count
from pathlib import Path

import pytest

from tests.fakes.logs import LogRecorder
from tests.fakes.snapshots import SnapshotOs
from tests.fakes.tree import put_tree, shape, take_tree
from tests.faults.file_work import Told, start
from tests.faults.migration_work import MIGRATIONS

LEAST_POINTS = {"migration": 60, "migration across into both": 220}
CALLS_PER_KILL = {"migration": 5, "migration across into both": 40}  # of the starts after the first one, in turns


@pytest.mark.parametrize("name", MIGRATIONS)
def test_migration_that_dies_again_and_again_loses_nothing(name: str, tmp_path: Path, logs: LogRecorder) -> None:
    """However many starts die, everything is in one of its places, and one that is left alone completes the move."""
    work, root, left = MIGRATIONS[name], tmp_path / "workspace", tmp_path / "left"
    root.mkdir()
    work.lay(root)
    unfinished, seen, points = deque([take_tree(root)]), set[Hashable](), 0
    wrong: list[str] = []
    for turn in count():
        if not unfinished:
            break
        tree, step = unfinished.popleft(), CALLS_PER_KILL[name] if turn else 1
        for k in count(1 + turn % step, step):
            put_tree(root, tree)
            fs = SnapshotOs()
            fs.copy_before(k, root, left)
            work.run(root, fs, Told())
            if not left.exists():
                break
            points += 1
            found = take_tree(left)
            if shape(found) not in seen:
                seen.add(shape(found))
                unfinished.append(found)
                wrong += [f"call {k}: {sentence}" for sentence in work.check(left, Told(), False)]
                start(left)
                wrong += [f"call {k}, after the start: {sentence}" for sentence in work.check(left, Told(), True)]
            put_tree(left, {})
            left.rmdir()
    assert not wrong, "\n".join(wrong[:40])
    assert points >= LEAST_POINTS[name]
    assert [event for event in logs.events if event["level"] == "error"] == []
