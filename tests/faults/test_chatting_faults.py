"""Faults under people who chat by way of the journal: what was acknowledged is there after the next start, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.logs import LogRecorder
from tests.faults.chatting_lives import Lives
from tests.faults.fault_kinds import FAULTS
from tests.faults.operations import SOAK

POINTS = 12 * SOAK
KILLS = 60 * SOAK
MOST_CALLS = 700  # of a life
IN_STARTS = {"EMFILE", "EINTR", "short", "short, then full"}
"""The kinds that say nothing about a file. What a start cannot read for another reason it puts into quarantine."""


@pytest.mark.parametrize("kind", FAULTS)
def test_acknowledged_message_survives_a_fault_and_a_fault_of_the_next_start(
    kind: str, tmp_path: Path, logs: LogRecorder
) -> None:
    """Whichever call fails: no message that was acknowledged is lost, none comes twice, and no removed session returns."""
    lives = Lives(tmp_path, logs)
    wrong: list[str] = []
    hits = 0
    for point in range(POINTS):
        k = 1 + (point * MOST_CALLS // POINTS + 17 * list(FAULTS).index(kind)) % MOST_CALLS
        lives.begin()
        act = FAULTS[kind](k)
        found = lives.live(act, point, from_start=kind in IN_STARTS)
        hits += bool(act.hit)
        if kind in IN_STARTS:
            lives.start(FAULTS[kind](1 + k % 100))
        wrong += [f"{kind} at call {k} ({act.hit}): {sentence}" for sentence in [*found, *lives.judge()]]
    logs.events.clear()
    assert not wrong, "\n".join(wrong[:20])
    assert hits


def test_acknowledged_message_survives_a_kill_and_a_kill_of_the_next_start(tmp_path: Path) -> None:
    """At any call of a life, and at any call of the start that follows."""
    command = [sys.executable, "-m", "tests.faults.chatting_lives", str(tmp_path), str(KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{found['lives']} lives and {found['starts']} starts killed, {len(found['wrong'])} findings")
    assert not found["wrong"], "\n".join(found["wrong"][:20])
    assert found["lives"] > KILLS / 3
    assert found["starts"] > KILLS / 6
