"""The ledger of what the last scan read."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.clock import from_microseconds, to_microseconds
from miniclaw.session.files.ledger import MAGIC, Ledger, can_be_told_apart, encode_use, fingerprint

THEN = encode_use(datetime(2026, 2, 14, 15, 45, 0, 123456, tzinfo=UTC), pinned=False)

_inodes = st.integers(1, 2**64 - 1) | st.integers(1, 3000)
_entries = st.dictionaries(
    _inodes, st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**50), 2**50), st.booleans()), max_size=60
)


def made_of(entries: dict[int, tuple[int, int, bool]]) -> Ledger:
    ledger = Ledger()
    for inode, (state, used, pinned) in entries.items():
        ledger.add(inode, state, used * 2 + pinned)
    ledger.settle()
    return ledger


def content(ledger: Ledger) -> bytes:
    return b"".join(ledger.encoded())


def read(data: bytes) -> Ledger:
    """Return the ledger of a file with this content."""
    rest = io.BytesIO(data)

    def fill(buffer: memoryview) -> None:
        if rest.readinto(buffer) != len(buffer):
            raise ValueError("it ends too early")

    return Ledger.read(len(data), fill)


@given(_entries)
def test_ledger_finds_what_was_added_and_nothing_else(entries: dict[int, tuple[int, int, bool]]) -> None:
    """Each file is found in the state in which it was, and in no other."""
    ledger = made_of(entries)
    assert len(ledger) == len(entries)
    for inode, (state, used, pinned) in entries.items():
        assert ledger.find(inode, state) == used * 2 + pinned
        assert ledger.find(inode, state ^ 1) is None


@given(_entries, _entries)
def test_ledger_newest_entry_of_an_inode_counts(
    first: dict[int, tuple[int, int, bool]], second: dict[int, tuple[int, int, bool]]
) -> None:
    """An inode that was used again is the new file."""
    ledger = made_of(first | second)
    for inode, (state, used, pinned) in second.items():
        ledger.add(inode, state, used * 2 + pinned)
    for inode, (state, _, _) in first.items():
        ledger.find(inode, state)
    ledger.settle()
    for inode, (state, used, pinned) in (first | second).items():
        assert ledger.find(inode, state) == used * 2 + pinned
    assert len(ledger) == len(first | second)


def test_ledger_grows_and_keeps_all() -> None:
    """A hundred thousand consecutive inodes are found, in 24 bytes each."""
    ledger = Ledger()
    for inode in range(1, 100_001):
        ledger.add(inode, inode * 7, THEN + inode)
    ledger.settle()
    assert len(ledger) == 100_000
    assert all(ledger.find(inode, inode * 7) == THEN + inode for inode in range(1, 100_001))
    assert len(content(ledger)) < 25 * 100_000


@given(_entries)
def test_ledger_survives_its_file(entries: dict[int, tuple[int, int, bool]]) -> None:
    """What is written is what is read."""
    again = read(content(made_of(entries)))
    assert len(again) == len(entries)
    assert not again.changed
    for inode, (state, used, pinned) in entries.items():
        assert again.find(inode, state) == used * 2 + pinned


@given(st.integers(0, 24 * 2 + 30), st.integers(1, 255))
def test_ledger_damaged_anywhere_is_no_ledger(place: int, flip: int) -> None:
    """One wrong byte, wherever it is, is noticed."""
    data = bytearray(content(made_of({5: (1, 3, True), 1029: (4, 6, False)})))
    place %= len(data)
    data[place] ^= flip
    with pytest.raises(ValueError, match=r"^it |^its "):
        read(bytes(data))


@pytest.mark.parametrize(
    "data", [b"", b"{}", MAGIC, MAGIC + b"<" + bytes(20), content(Ledger())[:-1], content(Ledger()) + b"x"]
)
def test_ledger_cut_or_foreign_is_no_ledger(data: bytes) -> None:
    """A file that is something else is told from a ledger."""
    with pytest.raises(ValueError, match=r"^it |^its "):
        read(data)


def test_settle_drops_what_is_gone() -> None:
    """Files that are no more do not fill the ledger."""
    ledger = read(content(made_of({inode: (inode, 2, False) for inode in range(1, 11)})))
    for inode in range(1, 6):
        assert ledger.find(inode, inode) is not None
    ledger.settle()
    assert (len(ledger), ledger.changed) == (5, True)
    assert [inode for inode in range(1, 11) if ledger.find(inode, inode) is not None] == [1, 2, 3, 4, 5]


def test_settle_when_all_were_seen_changes_nothing() -> None:
    """A quiet day writes no ledger."""
    ledger = read(content(made_of({7: (1, 3, False)})))
    assert ledger.find(7, 1) is not None
    ledger.settle()
    assert not ledger.changed


def test_settle_enters_new_files_between_the_known_ones_and_drops_those_that_are_gone() -> None:
    """New, replaced and gone files at once leave a ledger that knows what is there."""
    entries = {inode: (inode, 2, False) for inode in range(1, 101)}
    ledger = read(content(made_of(entries)))
    for inode in range(1, 96):
        assert ledger.find(inode, inode) == 4
    ledger.add(1000, 7, THEN)
    ledger.add(50, 51, THEN)  # replaced
    ledger.settle()
    assert ledger.changed
    assert ledger.find(1000, 7) == ledger.find(50, 51) == THEN
    assert ledger.find(50, 50) is ledger.find(99, 99) is None
    again = read(content(ledger))
    assert (len(again), again.find(1000, 7), again.find(1, 1)) == (96, THEN, 4)


def test_settle_drops_gone_files_before_they_are_many() -> None:
    """A ledger does not grow for ever, however few files come and go at a time."""
    ledger = made_of({inode: (inode, 2, False) for inode in range(1, 101)})
    for turn in range(100):
        for inode in range(turn + 1, turn + 101):
            if ledger.find(inode, inode) is None:
                ledger.add(inode, inode, 4)
        ledger.settle()
    assert 100 <= len(ledger) <= 116


def test_recall_finds_newer_files_and_enters_them() -> None:
    """What the program itself has saved is known as if it had been read."""
    ledger = made_of({1: (2, 4, False), 5: (6, 8, True)})
    ledger.recall({1: (20, 40), 9: (10, 12)})
    assert (ledger.find(1, 20), ledger.find(9, 10), ledger.find(5, 6)) == (40, 12, 17)
    assert ledger.find(9, 11) is None
    ledger.settle()
    assert (ledger.find(1, 20), ledger.find(9, 10), ledger.find(1, 2)) == (40, 12, None)


def test_add_what_cannot_be_entered_is_left_out() -> None:
    """A file whose inode is unknown, or no number of 64 bits, is read each time."""
    ledger = Ledger()
    ledger.add(0, 1, THEN)
    ledger.add(2**64, 1, THEN)
    ledger.settle()
    assert (len(ledger), ledger.changed) == (0, False)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_microseconds_are_exact(time: datetime) -> None:
    """What retention goes by is not rounded."""
    assert from_microseconds(to_microseconds(time)) == time


def test_fingerprint_differs_with_either_time_and_the_size() -> None:
    """A rename changes only one of the times."""
    second = int(timedelta(seconds=1).total_seconds() * 1e9)
    prints = {fingerprint(a * second, b * second, c) for a in range(50) for b in range(50) for c in range(4)}
    assert len(prints) == 10_000


@pytest.mark.parametrize(
    ("mtime", "ctime", "told"),
    [
        (5_000_000_000, 5_000_000_000, False), (5_010_000_000, 5_010_000_000, False),
        (5_000_000_000, 5_000_000_001, True), (5_003_456_789, 5_003_456_789, True),
    ],
)  # fmt: skip
def test_times_of_fat_tell_nothing(mtime: int, ctime: int, told: bool) -> None:
    """A file system with one time for both, that programs can set, lets no file into the ledger."""
    assert can_be_told_apart(mtime, ctime) == told
