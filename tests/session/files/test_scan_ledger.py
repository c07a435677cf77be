"""A scan with a ledger finds what one without finds, and opens less."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniclaw.session.files.ledger import Ledger
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.fakes.moments import ages_at
from tests.fakes.samples import session_dict, write_session
from tests.session.scans import POLICY, plan, populate, scan, told


@pytest.fixture(autouse=True)
def nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are new; the rule about new ones has a test of its own."""
    monkeypatch.setattr("miniclaw.session.files.scan.RACY_SECONDS", -1)


def test_scan_second_time_opens_nothing_that_is_sound(sessions_dir: Path, clock: WallClock) -> None:
    """After a quiet day only what could not be read is looked at again, and the rows are the same."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    first, _, opened = scan(sessions_dir, ledger)
    assert (opened, len(ledger)) == (34, 33)
    second, _, opened = scan(sessions_dir, ledger)
    assert second == first
    assert opened == 2  # the damaged one, and the one whose name does not tell its id, for its row


def test_scan_with_staying_counts_what_no_rule_takes(sessions_dir: Path, clock: WallClock) -> None:
    """Of a hundred thousand sessions that stay no row is made."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    scan(sessions_dir, ledger)
    rows, (kept, kept_bytes), opened = scan(sessions_dir, ledger, staying=POLICY.surely_staying(ages_at(clock.now)))
    names = [f"telegram_{number}.json" for number in range(16)]
    assert kept == 17
    assert kept_bytes > sum((sessions_dir / name).stat().st_size for name in names)
    assert {row.key for row in rows}.isdisjoint(names)
    assert opened == 1


@pytest.mark.parametrize(
    "policy",
    [
        POLICY, RetentionPolicy(ttl=None), RetentionPolicy(ttl=timedelta(days=4)), RetentionPolicy(max_sessions=5),
        RetentionPolicy(ttl_by_channel={"telegram": timedelta(days=10), "web": None}),
    ],
)  # fmt: skip
def test_plan_is_the_same_with_a_ledger_and_without(
    sessions_dir: Path, clock: WallClock, policy: RetentionPolicy
) -> None:
    """What is known changes what is read, never what is decided."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    plain = told(plan(sessions_dir, clock, None, policy))
    assert told(plan(sessions_dir, clock, ledger, policy)) == plain
    assert told(plan(sessions_dir, clock, ledger, policy)) == plain


def _replace(path: Path, clock: WallClock) -> None:
    write_session(path, "telegram_20", clock.now)


def _rewrite_in_place(path: Path, clock: WallClock) -> None:
    text = (path / "telegram_20.json").read_text()
    new = text.replace(session_dict("telegram_20", clock.ago(days=40))["last_accessed"], "2026-11-22T12:00:00Z", 1)
    (path / "telegram_20.json").write_text(new)


def _rename_over(path: Path, clock: WallClock) -> None:
    os.rename(path / "telegram_1.json", path / "telegram_20.json")


def _rename_to_another_name(path: Path, clock: WallClock) -> None:
    os.rename(path / "telegram_1.json", path / "telegram_999.json")


def _swap(path: Path, clock: WallClock) -> None:
    os.rename(path / "telegram_1.json", path / "x")
    os.rename(path / "telegram_20.json", path / "telegram_1.json")
    os.rename(path / "x", path / "telegram_20.json")


def _damage_keeping_size_and_mtime(path: Path, clock: WallClock) -> None:
    file = path / "telegram_20.json"
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_back(path: Path, clock: WallClock) -> None:
    shutil.copy2(path / "telegram_20.json", path / "x")
    os.rename(path / "x", path / "telegram_20.json")


def _delete(path: Path, clock: WallClock) -> None:
    os.unlink(path / "telegram_1.json")


def _link(path: Path, clock: WallClock) -> None:
    os.link(path / "telegram_1.json", path / "telegram_77.json")


@pytest.mark.parametrize(
    "change",
    [
        _replace, _rewrite_in_place, _rename_over, _rename_to_another_name, _swap, _damage_keeping_size_and_mtime,
        _copy_back, _delete, _link,
    ],
)  # fmt: skip
def test_plan_after_a_change_is_that_of_the_files(sessions_dir: Path, clock: WallClock, change: object) -> None:
    """Whatever was done to a file since, by us or by others, it is judged by what it is."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    plan(sessions_dir, clock, ledger)
    change(sessions_dir, clock)  # type: ignore[operator]
    assert told(plan(sessions_dir, clock, ledger)) == told(plan(sessions_dir, clock, None))


def test_plan_file_with_a_second_name_is_judged_each_time(sessions_dir: Path, clock: WallClock) -> None:
    """A link to a session is never taken for one, however often it was seen: both names have one inode."""
    populate(sessions_dir, clock)
    _link(sessions_dir, clock)
    ledger = Ledger()
    for _ in range(3):
        assert told(plan(sessions_dir, clock, ledger)) == told(plan(sessions_dir, clock, None))


def test_scan_file_that_is_just_new_is_not_entered(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change within the clock's tick would look the same."""
    monkeypatch.setattr("miniclaw.session.files.scan.RACY_SECONDS", 2)
    write_session(sessions_dir, "telegram_1", clock.now)
    ledger = Ledger()
    scan(sessions_dir, ledger)
    assert len(ledger) == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["write", "rename", "delete", "pin", "scan"])), max_size=25)
)
def test_plan_with_a_ledger_through_any_changes_is_that_of_the_files(
    tmp_path: Path, clock: WallClock, steps: list[tuple[int, str]]
) -> None:
    """A ledger that has seen a long and eventful life tells the same as none."""
    path = tmp_path / "s" / str(abs(hash(tuple(steps))))
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    ledger = Ledger()
    for turn, (number, step) in enumerate(steps):
        file = path / f"telegram_{number}.json"
        if step == "write":
            write_session(path, f"telegram_{number}", clock.ago(days=(turn * 7) % 60))
        elif step == "pin":
            file.write_text(
                json.dumps({**session_dict(f"telegram_{number}", clock.ago(days=40)), "pinned": turn % 2 == 0})
            )
        elif step == "rename" and file.exists():
            os.rename(file, path / f"telegram_{(number + 1) % 10}.json")
        elif step == "delete":
            file.unlink(missing_ok=True)
        elif step == "scan":
            plan(path, clock, ledger)
    assert told(plan(path, clock, ledger)) == told(plan(path, clock, None))


def test_scan_of_a_fat_disk_enters_nothing(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a rename leaves no trace, each file is read each time."""
    populate(sessions_dir, clock)
    monkeypatch.setattr("miniclaw.session.files.scan.can_be_told_apart", lambda *_: False)
    ledger = Ledger()
    scan(sessions_dir, ledger)
    assert scan(sessions_dir, ledger)[2] == 34
