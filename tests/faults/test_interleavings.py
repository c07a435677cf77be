"""Every interleaving of two actors on one session's file, without any locks: as if another program did it.

What a reader without the manager sees, exactly: the session whole, old or new, and nothing while it is captured by a
removal (or for good, once it is removed). Never a part of it, and never an error for any other reason.
"""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.format import codec
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import Removal, remove_batch
from miniclaw.session.types import Message, Session, SessionHeader
from tests.fakes.logs import LogRecorder
from tests.fakes.work_folder import left_in_work
from tests.faults.interleaving import SOAK, Level, Outcome, PausingOs, Schedule, explore, run_threads

NAME = "telegram_1.json"
TIMES = {version: datetime(2026, 1 if version == "old" else 11, 23, tzinfo=UTC) for version in ("old", "new", "newer")}
Actor = Callable[[], object]

# In a soak all orders of the shared stops also where there are thousands; two preemptions reach most of what they do.
PREEMPTIONS: dict[Level, int | None] = {"shared": None, "named": 1 + SOAK, "all": 1 + (SOAK + 1) // 4}
PREEMPTIONS_OF_LARGE: dict[Level, int | None] = {"shared": 2 if SOAK == 1 else None, "named": SOAK, "all": SOAK}


def session(version: str) -> Session:
    messages = [Message("user", version * 10, TIMES[version])]
    return Session("telegram_1", "telegram", "1", TIMES["old"], TIMES[version], messages)


class Place:
    """A sessions directory without locks, and the actors on it."""

    def __init__(self, path: Path, level: Level) -> None:
        self.level = level
        self.fs = PausingOs(level)
        self.directory = SessionDirectory.open(path, create=True, fs=self.fs)
        self.directory.own()
        self.fs.shared_fd = self.directory.fd

    def reset(self, version: str) -> None:
        for folder in [*(self.directory.path / WORK_NAME).iterdir(), *self.kept()]:
            shutil.rmtree(folder)
        self.directory.captured.clear()
        self.directory.free_folders = queue.SimpleQueue()
        StagingArea(self.directory).recover()
        (self.directory.path / NAME).write_bytes(codec.encode_session(session(version)))
        self.fs.trace.clear()

    def save(self, version: str) -> Actor:
        def act() -> None:
            self.directory.write(session(version))
            self.directory.sync()

        return act

    def load(self) -> str:
        """Return which version it is; a torn one is none."""
        loaded = self.directory.load("telegram_1")
        version = loaded.messages[0].content[: len(loaded.messages[0].content) // 10]
        assert loaded == session(version)
        return version

    def remove(self) -> Removal:
        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            self.fs.stop()
            return [header.last_accessed == TIMES["old"] for header in headers]

        return remove_batch(self.directory, [NAME], consent)[0]

    def remove_wrongly(self) -> None:
        """Verify, then unlink: what this project does not do."""
        row = self.directory.read_row(NAME)
        if isinstance(row, StoredSession) and row.header.last_accessed == TIMES["old"]:
            self.fs.unlink(NAME, dir_fd=self.directory.fd)

    def explore(
        self,
        initial: str,
        actors: dict[str, Actor],
        check: Callable[[dict[str, Outcome]], None],
        *,
        large: bool = False,
    ) -> int:
        """Run the orders of the actors, return how many there were; all of them with shared stops, if not `large`."""
        preemptions = (PREEMPTIONS_OF_LARGE if large else PREEMPTIONS)[self.level]

        def run(schedule: Schedule) -> None:
            self.reset(initial)
            check(run_threads(schedule, self.fs, actors))

        count = explore(run, preemptions=preemptions)
        bounded = "" if preemptions is None else f", at most {preemptions} preemptions"
        print(f"{count} interleavings of {' x '.join(actors)} over {initial}, {self.level} stops{bounded}")
        return count

    def now(self) -> str | None:
        """Return the version that is in the place."""
        try:
            return self.load()
        except SessionNotFoundError:
            return None

    def left_over(self) -> list[str]:
        return left_in_work(self.directory.path)

    def kept(self) -> list[Path]:
        quarantine = self.directory.path / ".quarantine"
        return [quarantine] if quarantine.exists() else []

    def seen(self, initial: str) -> list[str | None]:
        """Return, by the trace, what was in the place each time the actor named load opened it."""
        place: str | None = initial
        captured: dict[str, str | None] = {}
        seen = []
        for actor, call, args, succeeded in self.fs.trace:
            if (actor, call, args[0]) == ("load", "open", NAME):
                seen.append(place)
            elif succeeded and call == "rename" and args == (NAME, NAME):
                captured[actor], place = place, None
            elif succeeded and call == "rename" and args[1] == NAME:
                place = actor  # the one who saves is named after what it saves
            elif succeeded and call == "link":
                place = captured[actor]
        return seen


@pytest.fixture(params=["shared", "named", "all"])
def place(sessions_dir: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(sessions_dir, request.param)
    with place.directory:
        yield place


def test_removal_against_a_foreign_save_never_loses_it(place: Place) -> None:
    """Whatever the order, a save that another program makes during a removal is in its place, whole."""

    def check(outcomes: dict[str, Outcome]) -> None:
        assert outcomes["new"] is None
        renames = [args for _, call, args, _ in place.fs.trace if call == "rename"]
        captured_first = renames[0] == (NAME, NAME)
        assert outcomes["remove"].outcome == ("removed" if captured_first else "kept")
        assert place.now() == "new"
        assert place.left_over() == []

    assert place.explore("old", {"remove": place.remove, "new": place.save("new")}, check) >= 20


def test_removal_of_a_fresh_one_against_a_save_keeps_both(place: Place, logs: LogRecorder) -> None:
    """A fresh session that is captured while a newer one is saved goes to quarantine, and the newer one is in place."""
    logs.expect_error("Two files for one session; one is in quarantine")

    def check(outcomes: dict[str, Outcome]) -> None:
        assert outcomes["newer"] is None
        assert outcomes["remove"].outcome == "kept"
        assert place.now() == "newer"
        for kept in (place.directory.path / ".quarantine").glob("*"):
            assert codec.decode_session(kept.read_bytes()) == session("new")
        # What was put back and saved over at once may keep its captured name until the next start.
        for captured in place.directory.path.glob(".work/*/*"):
            assert codec.decode_session(captured.read_bytes()) == session("new")

    assert place.explore("new", {"remove": place.remove, "newer": place.save("newer")}, check) >= 20
    assert logs.named("Two files for one session; one is in quarantine")


@pytest.mark.parametrize("initial", ["old", "new"])
def test_two_removals_without_locks_lose_nothing_live(place: Place, initial: str) -> None:
    """A fresh session survives two removals at once, an expired one is removed once; the next start finds no doubt."""

    def check(outcomes: dict[str, Outcome]) -> None:
        found = sorted(removal.outcome for removal in outcomes.values())
        expected = [["removed", "vanished"]] if initial == "old" else [["kept", "kept"], ["kept", "vanished"]]
        assert found in expected
        assert place.now() == (None if initial == "old" else "new")
        # What one of them put back and the other captured at once may keep its second name until the next start.
        StagingArea(place.directory).recover()
        assert place.now() == (None if initial == "old" else "new")
        assert place.left_over() == []

    actors: dict[str, Actor] = {"first": place.remove, "second": place.remove}
    assert place.explore(initial, actors, check, large=initial == "new") >= 20


@pytest.mark.parametrize("initial", ["old", "new"])
def test_reader_sees_it_absent_only_while_it_is_captured(place: Place, initial: str) -> None:
    """A reader finds the session whole unless it opens it between the capture and the putting back, or after."""
    absent = 0

    def check(outcomes: dict[str, Outcome]) -> None:
        nonlocal absent
        [expected] = place.seen(initial)
        if expected is None:
            absent += 1
            assert isinstance(outcomes["load"], SessionNotFoundError)
        else:
            assert outcomes["load"] == expected
        assert outcomes["remove"].outcome == ("removed" if initial == "old" else "kept")
        assert place.now() == (None if initial == "old" else "new")

    actors: dict[str, Actor] = {"remove": place.remove, "load": place.load}
    count = place.explore(initial, actors, check)
    assert count > absent > 0


def test_reader_against_save_and_removal_sees_old_new_or_nothing(place: Place) -> None:
    """With a save and a removal at once, a reader sees exactly what is in the place when it opens it."""

    def check(outcomes: dict[str, Outcome]) -> None:
        [expected] = place.seen("old")
        load = outcomes["load"]
        assert isinstance(load, SessionNotFoundError) if expected is None else load == expected
        assert place.now() == "new"
        assert place.left_over() == []

    actors: dict[str, Actor] = {"remove": place.remove, "new": place.save("new"), "load": place.load}
    assert place.explore("old", actors, check, large=True) >= 80


def test_verify_then_unlink_is_found_to_lose_the_live_session(place: Place) -> None:
    """The controller finds the orders in which a removal that looks first and unlinks then takes a newer file."""
    lost = 0

    def check(outcomes: dict[str, Outcome]) -> None:
        nonlocal lost
        assert outcomes == {"remove": None, "new": None}
        lost += place.now() is None

    actors: dict[str, Actor] = {"remove": place.remove_wrongly, "new": place.save("new")}
    count = place.explore("old", actors, check)
    print(f"lost in {lost} of {count}")
    assert 0 < lost < count
