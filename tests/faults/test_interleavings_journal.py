"""Every interleaving of messages, commits, saves, deleted segments and removals, with a crash before each call.

Nothing acknowledged is lost or torn, nothing is doubled, nothing that was removed returns: neither after the first start nor
after the second. What is not synced of the journal is there after the crash, or gone, or torn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from miniclaw.session.journal.journal import WAIT_SECONDS
from miniclaw.session.live import committer
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.faults.interleaving import SOAK
from tests.faults.interleaving_journal import JournalExplorer, JournalWorld, Prepare

SILENT: Final = "Journal does not answer; messages are not confirmed"


@pytest.fixture
def explorer(sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> JournalExplorer:
    return JournalExplorer(sessions_dir, clock, monkeypatch)


@pytest.mark.parametrize(
    ("name", "prepare", "preemptions"),
    [
        ("chat x save", JournalWorld.be_recorded, SOAK),
        ("chat x delete", JournalWorld.be_saved, SOAK),
        ("chat x erase", JournalWorld.be_recorded, SOAK),
        ("chat x delete", JournalWorld.be_in_the_journal_alone, SOAK - 1),
        ("chat x tick", JournalWorld.be_saved, SOAK - 1),
        ("chat x flush", JournalWorld.be_recorded, SOAK - 1),
        ("chat x commit_due", JournalWorld.be_recorded, SOAK - 1),
        ("chat x tick x erase", JournalWorld.be_recorded, SOAK - 1),
        ("chat x save x delete", JournalWorld.be_in_the_journal_alone, SOAK - 1),
    ],
)
def test_messages_outlive_a_crash(explorer: JournalExplorer, name: str, prepare: Prepare, preemptions: int) -> None:
    """Messages that are acknowledged one by one outlive a crash at any moment of other work, unless they are removed."""
    explorer.run(name, prepare, preemptions=preemptions)


@pytest.mark.parametrize(("name", "preemptions"), [("chat x hang", SOAK - 1), ("pin x hang", SOAK)])
def test_commit_that_hangs(
    explorer: JournalExplorer, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch, name: str, preemptions: int
) -> None:
    """A commit that is given up at any moment, and goes on at any later one, undoes nothing."""
    monkeypatch.setattr(committer, "WAIT_SECONDS", WAIT_SECONDS)  # not the patience of a test
    logs.expect_error(SILENT)
    explorer.run(name, JournalWorld.be_saved, preemptions=preemptions)


@pytest.mark.parametrize("other", ["save", "tick", "delete", "erase"])
def test_pins_outlive_a_crash(explorer: JournalExplorer, other: str) -> None:
    """The pin that was acknowledged last is the one that a start finds."""
    explorer.run(f"pin x {other}", JournalWorld.be_recorded, preemptions=SOAK - 1)
