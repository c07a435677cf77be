"""The ledger of what the last scan read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.clock import from_microseconds, to_microseconds
from miniclaw.session.ledger import MAGIC, Ledger, fingerprint

THEN = datetime(2026, 2, 14, 15, 45, 0, 123456, tzinfo=UTC)

_inodes = st.integers(1, 2**64 - 1) | st.integers(1, 3000)
_entries = st.dictionaries(
    _inodes, st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(-(2**50), 2**50), st.booleans()),
    max_size=60,
)  # fmt: skip


def made_of(entries: dict[int, tuple[int, int, int, bool]]) -> Ledger:
    ledger = Ledger()
    for inode, (times, size, used, pinned) in entries.items():
        ledger.add(inode, times, size, from_microseconds(used), pinned=pinned)
    return ledger


@given(_entries)
def test_ledger_finds_what_was_added_and_nothing_else(entries: dict[int, tuple[int, int, int, bool]]) -> None:
    """Each file is found as it was, and not if it is another size or time."""
    ledger = made_of(entries)
    assert len(ledger) == len(entries)
    for inode, (times, size, used, pinned) in entries.items():
        assert ledger.find(inode, times, size) == used * 2 + pinned
        assert ledger.find(inode, times ^ 1, size) is None
        assert ledger.find(inode, times, size ^ 1) is None


@given(_entries, _entries)
def test_ledger_newest_entry_of_an_inode_counts(
    first: dict[int, tuple[int, int, int, bool]], second: dict[int, tuple[int, int, int, bool]]
) -> None:
    """An inode that was used again is the new file."""
    ledger = made_of(first | second)
    for inode, (times, size, used, pinned) in second.items():
        ledger.add(inode, times, size, from_microseconds(used), pinned=pinned)
    for inode, (times, size, used, pinned) in (first | second).items():
        assert ledger.find(inode, times, size) == used * 2 + pinned
    assert len(ledger) == len(first | second)


def test_ledger_grows_and_keeps_all() -> None:
    """A hundred thousand consecutive inodes are found, in 40 to 60 bytes each."""
    ledger = Ledger()
    for inode in range(1, 100_001):
        ledger.add(inode, inode * 7, inode % 5000, THEN, pinned=inode % 3 == 0)
    assert len(ledger) == 100_000
    assert all(
        ledger.find(inode, inode * 7, inode % 5000) == to_microseconds(THEN) * 2 + (inode % 3 == 0)
        for inode in range(1, 100_001)
    )
    assert len(ledger.encode()) < 60 * 100_000


@given(_entries)
def test_ledger_survives_its_file(entries: dict[int, tuple[int, int, int, bool]]) -> None:
    """What is written is what is read."""
    again = Ledger.decode(made_of(entries).encode())
    assert len(again) == len(entries)
    assert not again.changed
    for inode, (times, size, used, pinned) in entries.items():
        assert again.find(inode, times, size) == used * 2 + pinned


@given(st.integers(0, 28 * 1024 + 38), st.integers(1, 255))
def test_ledger_damaged_anywhere_is_no_ledger(place: int, flip: int) -> None:
    """One wrong byte, wherever it is, is noticed."""
    data = bytearray(made_of({5: (1, 2, 3, True), 1029: (4, 5, 6, False)}).encode())
    place %= len(data)
    data[place] ^= flip
    with pytest.raises(ValueError, match=r"^it |^its "):
        Ledger.decode(bytes(data))


@pytest.mark.parametrize(
    "data", [b"", b"{}", MAGIC, MAGIC + b"<" + bytes(20), Ledger().encode()[:-1], Ledger().encode() + b"x"]
)
def test_ledger_cut_or_foreign_is_no_ledger(data: bytes) -> None:
    """A file that is something else is told from a ledger."""
    with pytest.raises(ValueError, match=r"^it |^its "):
        Ledger.decode(data)


def test_forget_unseen_drops_what_is_gone() -> None:
    """Files that are no more do not fill the ledger."""
    written = made_of({inode: (inode, 1, 2, False) for inode in range(1, 11)}).encode()
    ledger = Ledger.decode(written)
    for inode in range(1, 6):
        assert ledger.find(inode, inode, 1) is not None
    ledger.forget_unseen()
    assert (len(ledger), ledger.changed) == (5, True)
    assert [inode for inode in range(1, 11) if ledger.find(inode, inode, 1) is not None] == [1, 2, 3, 4, 5]


def test_forget_unseen_when_all_were_seen_changes_nothing() -> None:
    """A quiet day writes no ledger."""
    ledger = Ledger.decode(made_of({7: (1, 2, 3, False)}).encode())
    assert ledger.find(7, 1, 2) is not None
    ledger.forget_unseen()
    assert not ledger.changed


def test_add_what_cannot_be_entered_is_left_out() -> None:
    """A file of more than 4 GiB is read each time."""
    ledger = Ledger()
    ledger.add(1, 1, 2**32, THEN, pinned=False)
    ledger.add(0, 1, 1, THEN, pinned=False)
    assert (len(ledger), ledger.changed) == (0, False)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_microseconds_are_exact(time: datetime) -> None:
    """What retention goes by is not rounded."""
    assert from_microseconds(to_microseconds(time)) == time


def test_fingerprint_differs_with_either_time() -> None:
    """A rename changes only one of them."""
    second = int(timedelta(seconds=1).total_seconds() * 1e9)
    prints = {fingerprint(a * second, b * second) for a in range(50) for b in range(50)}
    assert len(prints) == 2500
