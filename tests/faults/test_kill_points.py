"""Every operation on session files, killed with SIGKILL before, after and amid each of its system calls.

And the start that follows is killed at each of its calls, and the one after that, until nothing new comes of it. After
each kill one start that is left alone has to find every session, whole, and leave nothing temporary. A kill keeps the
page cache, so it can never show a missing fsync: power cuts do, in tests of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import miniclaw
from tests.faults.trash_operations import ALL_OPERATIONS

TIMEOUT_SECONDS: Final = 300

# What they were when this was written is a little more; a loop that ends early shows here.
LEAST_POINTS: Final = {
    "save": 45, "save batch": 170, "load": 28, "adopt": 28, "scan": 65, "cleanup": 180, "delete": 30,
    "keep, delete": 60, "quarantine": 12, "save over": 60, "recover": 450, "first start": 24,
    "cleanup to trash": 700, "delete to trash": 250, "restore": 95,
    "move to quarantine": 70, "restore quarantined": 105, "quarantine to trash": 280, "back to quarantine": 92,
    "move": 130, "move again": 75,
    "save, work folder gone": 40, "delete, work folder gone": 40,
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_OPERATIONS)
def test_operation_killed_anywhere_loses_nothing(name: str, tmp_path: Path) -> None:
    """Wherever the process dies, also while it recovers, each session is there and what was said to be done is done."""
    # A clean process: forking this one, with its threads, would be asking for deadlocks. No coverage in it either.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    environment["PYTHONPATH"] = str(Path(miniclaw.__file__).parents[1])
    server = subprocess.run(
        [sys.executable, "-m", "tests.faults.fork_server", name, str(tmp_path / "workspace")],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert server.returncode == 0, server.stderr
    assert not server.stderr
    found = json.loads(server.stdout)
    points = found["operation_points"] + found["start_points"]
    print(f"{name}: killed at {found['operation_points']} points, and starts after it at {found['start_points']}")
    assert not found["wrong"], "\n".join(found["wrong"][:40])
    assert points >= LEAST_POINTS[name]


def test_kill_points_are_at_least_a_thousand() -> None:
    """The least that each operation is killed adds up to a thousand."""
    assert LEAST_POINTS.keys() == ALL_OPERATIONS.keys()
    assert sum(LEAST_POINTS.values()) >= 1000
