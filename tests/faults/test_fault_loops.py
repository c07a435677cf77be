"""Every operation on session files, with its k-th system call failing, for every k and, over all, every way to fail.

After each point: what was there is there, old or new, whole; whoever failed said so and named the file; and the next
start leaves nothing temporary.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from miniclaw.session.format import codec
from miniclaw.session.live import store
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import file_name
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.descriptors import descriptors_below
from tests.fakes.logs import LogRecorder
from tests.fakes.operation import Operation, Report, check, start
from tests.fakes.point_os import Act, PointOs
from tests.fakes.tree import put_tree
from tests.faults.fault_kinds import CALLS_PER_FAULT, FAULTS, calls_of
from tests.faults.operations import NEW
from tests.faults.trash_operations import ALL_OPERATIONS

LEGITIMATE_ERRORS: Final = {
    "Unfinished removal could not be resolved",
    "Folder for removals could not be prepared",
    "Two files for one session; one is in quarantine",
}

# What they were when this was written is a little more; a loop that ends early shows here.
LEAST_POINTS: Final = {
    "save": 45, "save batch": 150, "load": 200, "adopt": 200, "scan": 250, "cleanup": 330, "delete": 105,
    "keep, delete": 210, "quarantine": 45, "save over": 190, "recover": 700, "first start": 180,
    "cleanup to trash": 820, "delete to trash": 340, "restore": 280,
    "move to quarantine": 180, "restore quarantined": 240, "quarantine to trash": 520, "back to quarantine": 190,
    "move": 260, "move again": 220,
    "save, work folder gone": 60, "delete, work folder gone": 100,
}  # fmt: skip


# Of which so many are tried outside of a soak (`fault_kinds.CALLS_PER_FAULT`).
SHARE: Final = 1 if CALLS_PER_FAULT == 1 else 0.35


def run_point(operation: Operation, root: Path, act: Act, logs: LogRecorder) -> Iterator[str]:
    """Do an operation with one fault, start again, and yield what is wrong."""
    put_tree(root, operation.tree())
    logs.events.clear()
    report = Report(logs)
    try:
        operation.perform(root, act, report)
    except OSError as error:
        yield f"a foreign error came out: {error!r}"
        report.failed["*"] = str(root)
    if leaked := descriptors_below(root):
        yield f"{len(leaked)} descriptors leaked"
        for fd in leaked:
            os.close(fd)  # one of them may be the lock
    yield from report.lies
    yield from check(operation, root, report.done, started=False)
    for event in logs.events:
        if event["level"] == "error" and event["event"] not in LEGITIMATE_ERRORS:
            yield f"unexpected ERROR: {event}"
    if str(root) not in report.failed.get("*", str(root)):
        yield f"names no file: {report.failed}"
    told = report.done | set(report.failed)
    if "*" not in told and told != operation.targets:
        yield f"nothing was said of {operation.targets - told}"
    if not act.hit and report.failed:
        yield f"failed without a fault: {report.failed}"
    start(root)
    for sentence in check(operation, root, report.done, started=True):
        yield f"after the start: {sentence}"


def loop(operation: Operation, root: Path, kind: str, logs: LogRecorder) -> tuple[int, list[str]]:
    """Move one kind of fault through an operation; return how many points there were and what went wrong."""
    wrong: list[str] = []
    for points, k in enumerate(calls_of(kind)):
        act = FAULTS[kind](k)
        found = list(run_point(operation, root, act, logs))
        wrong += [f"{operation.name}, {kind} at call {k} ({act.hit}): {sentence}" for sentence in found]
        if not act.hit:
            return points, wrong
    raise AssertionError


@pytest.mark.parametrize("name", ALL_OPERATIONS)
def test_operation_with_faults_loses_nothing(name: str, tmp_path: Path, logs: LogRecorder) -> None:
    """Whichever call fails, each session is there, whole, and the operation says truly what it did."""
    total = 0
    wrong = []
    for kind in FAULTS:
        points, found = loop(ALL_OPERATIONS[name], tmp_path / "workspace", kind, logs)
        total += points
        wrong += found
    logs.events.clear()
    print(f"{name}: {total} points, {len(wrong)} findings")
    assert not wrong, "\n".join(wrong[:40])
    assert total >= LEAST_POINTS[name] * SHARE


def test_fault_points_are_at_least_a_thousand() -> None:
    """The least that each operation is broken adds up to a thousand."""
    assert LEAST_POINTS.keys() == ALL_OPERATIONS.keys()
    assert sum(LEAST_POINTS.values()) * SHARE >= 1000


@pytest.mark.parametrize("kind", FAULTS)
async def test_save_all_with_faults_stays_dirty(
    kind: str, tmp_path: Path, logs: LogRecorder, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session whose save fails stays unsaved in memory, an ERROR names its file, and the next save saves it."""
    monkeypatch.setattr(store, "SAVE_THREADS", 1)  # one order of calls
    for k in itertools.count(1):
        fs = PointOs()
        act = FAULTS[kind](k)
        async with open_store(tmp_path / str(k), fs=fs) as opened:
            manager = SessionManager(opened, clock=clock)
            ids = [(await manager.get_or_create_session("telegram", str(chat))).session_id for chat in range(3)]
            await manager.save_all_sessions()
            for session_id in ids:
                await manager.add_message(session_id, Message("user", f"number {k}", NEW))
            old = {i: (tmp_path / str(k) / file_name(i)).read_bytes() for i in ids}
            new = {i: bytes(codec.encode_session(await manager.get_session(i))) for i in ids}  # type: ignore[arg-type]
            fs.act = act
            report = await manager.save_all_sessions()
            fs.act = Act()
            assert set(manager.dirty_sessions()) == set(report.failed)
            assert report.saved + len(report.failed) == len(ids)
            errors = logs.named("Session could not be saved; it stays in memory for the next try")
            assert {event["session_id"] for event in errors} == set(report.failed)
            for event in errors:
                # The names are synced all at once: an error there names the directory; the work folder is for all, too.
                assert event["path"] in {
                    str(tmp_path / str(k)),
                    str(tmp_path / str(k) / ".work"),
                    str(tmp_path / str(k) / file_name(event["session_id"])),
                }
            for session_id in ids:
                content = (tmp_path / str(k) / file_name(session_id)).read_bytes()
                assert content in {old[session_id], new[session_id]}
                assert content == new[session_id] or session_id in report.failed
            logs.events.clear()
            assert (await manager.save_all_sessions()).failed == ()
            assert manager.dirty_sessions() == []
            assert {i: (tmp_path / str(k) / file_name(i)).read_bytes() for i in ids} == new
        if not act.hit:
            assert k > 3
            break
