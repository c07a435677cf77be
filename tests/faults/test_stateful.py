"""The runtime against a model: any sequence of use, time, cleanups, deletions, crashes and foreign edits.

The real runtime works in real threads on real files; trio runs in a thread of its own on a clock moved by hand. The
model keeps, per chat, what memory must hold and what the disk must hold, and both are compared after every step.
A failure prints the steps; the seed is in the test's name. `MINICLAW_SOAK` multiplies the examples, from 125 a seed. What the search may
or may not draw, a test of its own does step by step: that something is removed, restored, quarantined, and crashes.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.logs import LogRecorder
from tests.faults.stateful_machine import DURING, machine_over

SOAK = int(os.environ.get("MINICLAW_SOAK", "1"))
SHARDS = 4  # tests that xdist spreads over the cores
POOR_SHARDS = 2  # and on a file system that can little more than rename
EXAMPLES = 50 if SOAK == 1 else 125 * SOAK
POOR_EXAMPLES = 20 if SOAK == 1 else 50 * SOAK
STEPS = 30


@pytest.mark.parametrize("is_poor", [False, True], ids=["plain", "poor"])
@pytest.mark.parametrize("trash_for", [None, timedelta(days=10_000)], ids=["gone", "trash"])
def test_runtime_after_each_rare_step_is_as_the_model_says(
    trash_for: timedelta | None, is_poor: bool, tmp_path: Path, logs: LogRecorder
) -> None:
    """Removed, restored, damaged and begun anew, crashed in each operation: compared after every one of these steps."""
    machine = machine_over(tmp_path, logs, trash_for=trash_for, is_poor=is_poor)()

    def compare() -> None:
        machine.disk_and_memory_are_as_the_model_says()

    try:
        for session_id in machine.chats:
            machine.message(session_id)
            compare()
        machine.tick()
        compare()
        machine.time_passes(timedelta(days=31))  # a run announces three of them, which have expired
        machine.message("web_a")
        machine.cleanup()
        compare()
        assert machine.counts["removed"] == 3
        if trash_for is not None:
            machine.restore("web_b")
            compare()
            assert machine.counts["restored"] == 1
        machine.foreign_edit("telegram_1", "corrupt")
        machine.message("telegram_1")
        compare()
        assert machine.counts["quarantined"] == 1
        for crashes, during in enumerate(DURING, 1):
            machine.message("web_a")
            machine.confirm("web_a")
            machine.message("web_a")
            machine.crash(during, "web_a", call=5, again=5, loses_unsynced=bool(crashes % 2))
            compare()
            assert machine.counts["crashes"] >= crashes
        assert machine.counts["confirmed"] > len(DURING)  # also once in the middle of a crash
        machine.restart()
        compare()
    finally:
        machine.teardown()


@pytest.mark.parametrize("is_by_hand", [False, True], ids=["command", "hand"])
def test_confirmed_session_that_is_deleted_does_not_return_with_a_crash(
    is_by_hand: bool, tmp_path: Path, logs: LogRecorder
) -> None:
    """The journal still has it, and knows that it was deleted, or that it had a file, also one of an early save."""
    machine = machine_over(tmp_path, logs, trash_for=None, is_poor=False)()
    try:
        machine.message("web_a")
        machine.confirm("web_a")
        if is_by_hand:
            for session_id in ("web_b", "telegram_1", "web_B"):  # too many for memory
                machine.message(session_id)
                machine.disk_and_memory_are_as_the_model_says()
            machine.foreign_edit("web_a", "deleted")
            assert not machine.path("web_a").exists()
        else:
            machine.delete("web_a")
        machine.crash("nothing", "web_a", call=1, again=0, loses_unsynced=False)
        assert machine.chats["web_a"].file is None
        machine.disk_and_memory_are_as_the_model_says()
    finally:
        machine.teardown()


@pytest.mark.parametrize("shard", range(SHARDS + POOR_SHARDS))
def test_runtime_after_any_sequence_of_steps_is_as_the_model_says(
    shard: int, tmp_path: Path, logs: LogRecorder
) -> None:
    """Live sessions stay, whole; removed ones never return; what cannot be read is kept; whatever happens."""
    trash_for = timedelta(days=10_000) if shard % 2 else None
    machine = machine_over(tmp_path, logs, trash_for=trash_for, is_poor=shard >= SHARDS)
    run_state_machine_as_test(
        seed(shard)(machine),
        settings=settings(
            max_examples=EXAMPLES if shard < SHARDS else POOR_EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(machine.counts))
