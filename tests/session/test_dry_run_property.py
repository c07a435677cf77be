"""What a dry run lists is exactly what the run then removes: on generated workspaces, by any rules.

Three say what would go: the command, which only reads; `Cleanup.plan`, which asks the memory of a running program; and
the run, by what it then does. What it did is told from the disk itself, by what is not there any more.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from msgspec import structs

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.subdirectory import TRASH_NAME, Folder
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.removal.leftovers import list_leftovers
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.trash.trash import Trash
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import at_once
from tests.fakes.plans import DAY, NOW, policies
from tests.fakes.workspaces import DrawnDisk, LaidFile, LaidSession, Workspace, everything, workspaces

EXAMPLES: Final = 320
FOLDERS: Final = {"trash": ".trash", "quarantined": ".quarantine", "temporary": ".work", "legacy": "."}
LEGITIMATE: Final = {"Session file kept, it cannot be judged", "More session files cannot be judged"}


def dry_run(path: Path, policy: RetentionPolicy, fs: DrawnDisk) -> CleanupPlan:
    """Look, as the command does: without owning anything, and without any memory to ask."""
    with SessionDirectory.open(path, fs=fs) as directory:
        trash = Trash(Folder.within(directory, TRASH_NAME))
        leftovers = list_leftovers(directory, now=NOW, trash=trash)
        return scan_sync(directory, policy, at_once(NOW, policy), leftovers=leftovers, free_disk=directory.free_disk())


def sessions_of(plan: CleanupPlan) -> dict[str, str]:
    return {row.session.key: row.reason for row in plan.removals}


def leftovers_of(plan: CleanupPlan) -> dict[str, str]:
    """Return which files the plan takes beside the sessions, by their paths, and why."""
    return {
        str(Path(FOLDERS[row.leftover.kind]) / row.leftover.key): f"{row.leftover.kind}: {row.reason}"
        for row in plan.leftovers
    }


def rest_of(plan: CleanupPlan) -> tuple[object, ...]:
    problems = sorted((problem.key, problem.kind) for problem in plan.problems)
    future = sorted(row.session.key for row in plan.future)
    counts = (plan.sessions_scanned, plan.readable, plan.sessions_bytes, plan.pinned, plan.in_use, plan.min_idle)
    return problems, future, counts, plan.unmet, plan.held, plan.by_reason()


class Bench:
    """Runs examples, each in a directory of its own, and counts what they were like."""

    def __init__(self, root: Path, logs: LogRecorder) -> None:
        self.counts: Counter[str] = Counter()
        self._root = root
        self._logs = logs
        self._numbers = itertools.count()

    def try_one(self, workspace: Workspace, policy: RetentionPolicy, *, running: bool, used: list[int]) -> None:
        path = self._root / str(next(self._numbers)) / "sessions"
        path.mkdir(parents=True)
        try:
            trio.run(self._try, path, workspace, policy, running, used)
        finally:
            shutil.rmtree(path.parent)
        self.counts["examples"] += 1
        errors = [event for event in self._logs.events if event["level"] == "error"]
        self._logs.events.clear()
        # A run that need not read them whole before finds damaged ones at the removal, and says so.
        damaged = [event for event in errors if event.get("outcome") == "corrupt"]
        assert all(event in damaged or event["event"] in LEGITIMATE for event in errors), errors

    async def _try(
        self, path: Path, workspace: Workspace, policy: RetentionPolicy, running: bool, used: list[int]
    ) -> None:
        fs = DrawnDisk(workspace.free)
        listed = None
        if not running:  # the command looks first, and only then anybody owns the directory
            with SessionDirectory.open(path, fs=fs) as directory:
                workspace.lay(directory, Trash(Folder.within(directory, TRASH_NAME)), young=False)
            listed = dry_run(path, policy, fs)
        laid = everything(path)
        async with open_store(path, fs=fs) as store:
            manager = SessionManager(store, clock=WallClock(NOW), policy=policy)
            if running:
                workspace.lay(store.directory, store.trash)
                listed = dry_run(path, policy, fs)
                laid = everything(path)
                for number in used:
                    await self._use(manager, workspace, number)
            history = store.state.history()
            cleanup = Cleanup(path, policy=policy, clock=WallClock(NOW), manager=manager, history=history)
            plan = await cleanup.plan()
            assert listed is not None
            if manager.live_sessions():
                self.counts["with sessions in memory"] += 1
                listed = plan  # who only reads the disk cannot know of them
            assert sessions_of(plan) == sessions_of(listed)
            assert rest_of(plan) == rest_of(listed)
            if running:
                assert leftovers_of(plan) == leftovers_of(listed)
            before = everything(path)
            if plan.held:
                self.counts["held"] += 1
                held = await cleanup.run()
                assert (held.held, everything(path)) == (plan.held, before)
            elif policy.max_removed_fraction is not None:
                self.counts["not held"] += 1
            result = await cleanup.run(confirmed=True)
            self._compare(path, laid, listed, plan, result)
            event = history.read()[0][-1]
            assert {row.session_id: row.reason for row in event.sessions} == {
                row.session.header.session_id: row.reason for row in plan.removals
            }
            assert {kind: tally.files for kind, tally in event.leftovers.items()} == result.leftovers_removed

    async def _use(self, manager: SessionManager, workspace: Workspace, number: int) -> None:
        sound = [session for session in workspace.sessions if not session.odd]
        if number < len(sound):
            await manager.get_session(sound[number].session_id)

    def _compare(
        self, path: Path, laid: set[str], listed: CleanupPlan, plan: CleanupPlan, result: CleanupResult
    ) -> None:
        left = everything(path)
        gone = laid - left
        assert gone == sessions_of(listed).keys() | leftovers_of(listed).keys()
        assert result.removed_by_reason == Counter(sessions_of(plan).values())
        assert result.leftovers_removed == Counter(row.leftover.kind for row in plan.leftovers)
        assert (result.failed, result.held) == (0, "")
        # A pin that stands behind the messages is only seen at the removal, by a run that need not look before.
        assert result.kept_active + result.pinned == plan.in_use + plan.pinned
        # And what came instead is in the trash, or in quarantine.
        new = left - laid
        in_trash = sum(name.startswith(".trash/") for name in new)
        trashed = sum(plan.trashes(row) for row in plan.removals)
        files_trashed = sum(plan.trashes(row) for row in plan.leftovers)
        assert (result.trashed, result.leftovers_trashed) == (trashed, files_trashed)
        assert in_trash == trashed + files_trashed
        assert len(new) == in_trash + result.leftovers_removed.get("legacy", 0)
        self.counts.update(f"session by {reason}" for reason in sessions_of(plan).values())
        self.counts.update(f"file by {reason}" for reason in leftovers_of(listed).values())


def used_daily(days: int, **fields: Any) -> Workspace:
    """Return a workspace of sessions that were last used that many days ago, and one of each kind of leftover."""
    sessions = tuple(LaidSession(f"web_{number}", number * DAY, 100, pinned=False, odd="") for number in range(days))
    kinds = ("trash", "quarantined", "sound in quarantine", "legacy", "temporary")
    files = tuple(LaidFile(kind, age=99 * DAY, size=100, keep_for=DAY) for kind in kinds)
    return replace(Workspace(sessions, files, free=100_000), **fields)


@pytest.mark.parametrize("running", [False, True], ids=["alone", "beside a gateway"])
@pytest.mark.parametrize(
    ("workspace", "policy", "takes"),
    [
        (used_daily(36), RetentionPolicy(), {"session by ttl": 5, "not held": 0}),
        (used_daily(36), RetentionPolicy(ttl=None, max_sessions=30), {"session by max_sessions": 6}),
        (used_daily(6), RetentionPolicy(ttl=None, max_disk_bytes=1000), {"session by max_disk_bytes": 4}),
        (used_daily(6, free=75_500), RetentionPolicy(ttl=None, min_free_disk=100_000), {"session by min_free_disk": 3}),
        (used_daily(36), RetentionPolicy(max_removed_fraction=0.1), {"session by ttl": 5, "held": 1}),
        (used_daily(36), RetentionPolicy(max_removed_fraction=0.5), {"session by ttl": 5, "not held": 1}),
    ],
    ids=["ttl", "max_sessions", "max_disk_bytes", "min_free_disk", "held", "not held"],
)
def test_dry_run_lists_exactly_what_each_rule_removes(
    workspace: Workspace,
    policy: RetentionPolicy,
    takes: dict[str, int],
    running: bool,
    tmp_path: Path,
    logs: LogRecorder,
) -> None:
    """Each rule takes so many sessions, and each kind of leftover goes; the dry run listed just these."""
    bench = Bench(tmp_path, logs)
    bench.try_one(workspace, policy, running=running, used=[0])
    assert {what: bench.counts[what] for what in takes} == takes
    kinds = ["trash: trash_expired", "quarantined: quarantine_expired", "legacy: legacy", "temporary: no_owner"]
    for kind in [*kinds, *["quarantined: ttl"] * (policy.ttl is not None)]:
        assert bench.counts[f"file by {kind}"] == 1, kind


@pytest.mark.parametrize("shard", range(2))
def test_dry_run_lists_exactly_what_the_run_removes(shard: int, tmp_path: Path, logs: LogRecorder) -> None:
    """Sessions, each by the same reason, and leftovers of each kind: listed is removed, and nothing else is."""
    bench = Bench(tmp_path, logs)

    @seed(shard)
    @settings(
        max_examples=EXAMPLES // 2,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(
        workspace=workspaces(),
        policy=policies(),
        running=st.just(shard == 0),
        lacking=st.none() | st.integers(1, 40_000),
        alone=st.booleans(),
        used=st.just([]) | st.lists(st.integers(0, 8), max_size=3, unique=True),
    )
    def check(
        workspace: Workspace,
        policy: RetentionPolicy,
        running: bool,
        lacking: int | None,
        alone: bool,
        used: list[int],
    ) -> None:
        if lacking is not None:  # a disk that is nearly as free as it shall be
            policy = structs.replace(policy, min_free_disk=100_000)
            if alone:
                policy = structs.replace(policy, ttl=None, max_sessions=None, max_disk_bytes=None, low_water=None)
            workspace = replace(workspace, free=100_000 - lacking)
        elif alone:  # a rule that others would hold
            policy = structs.replace(policy, max_removed_fraction=0.1)
        bench.try_one(workspace, policy, running=running, used=used)

    check()
    print(dict(bench.counts))
