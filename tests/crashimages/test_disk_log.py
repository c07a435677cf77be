from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crashimages.disk_log import (
    SECTOR_BYTES,
    TEARING,
    Crash,
    DiskLog,
    Flush,
    Tearing,
    Write,
    decode_log,
    encode_entry,
)
from tests.crashimages.history import History
from tests.crashimages.rounds import choose_crashes
from tests.powercut.ledger import ABSENT

_SECTORS = 24
_SECTOR_TEARING = Tearing((SECTOR_BYTES,))


@st.composite
def entries(draw: st.DrawFn) -> list[Write | Flush]:
    """Writes of one to nine sectors, each with a byte of its own, and flushes among them."""
    found: list[Write | Flush] = []
    for mark in range(1, draw(st.integers(1, 20))):
        if draw(st.booleans()):
            first = draw(st.integers(0, _SECTORS - 1))
            count = draw(st.integers(1, min(9, _SECTORS - first)))
            found.append(Write(first * SECTOR_BYTES, bytes([mark]) * (count * SECTOR_BYTES)))
        else:
            found.append(Flush())
    return found


def replayable(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def image_of(log: DiskLog, crash: Crash) -> bytearray:
    disk = bytearray(_SECTORS * SECTOR_BYTES)
    for write in [*log.surely(0, crash), *log.maybe(crash)]:
        disk[write.offset : write.offset + len(write.data)] = write.data
    return disk


def sectors(disk: bytes | bytearray) -> list[bytes]:
    return [bytes(disk[start : start + SECTOR_BYTES]) for start in range(0, len(disk), SECTOR_BYTES)]


def possible(entries: Sequence[Write | Flush]) -> list[set[int]]:
    """Return for each sector the bytes that it may consist of, by a model that knows nothing of logs."""
    disk = [{0} for _ in range(_SECTORS)]
    newest = [0] * _SECTORS
    for entry in entries:
        if isinstance(entry, Flush):
            disk = [{byte} for byte in newest]
        else:
            first = entry.offset // SECTOR_BYTES
            for sector in range(first, first + len(entry.data) // SECTOR_BYTES):
                newest[sector] = entry.data[0]
                disk[sector].add(entry.data[0])
    return disk


@given(entries())
def test_prefix_at_each_position_is_the_replay_of_what_was_written_so_far(entries: list[Write | Flush]) -> None:
    """A disk that writes in order has at any moment what it was told so far, all of it and nothing else."""
    log = DiskLog(entries)
    disk = bytearray(_SECTORS * SECTOR_BYTES)
    for position in range(len(entries) + 1):
        assert image_of(log, log.prefix(position)) == disk
        if position < len(entries) and isinstance(entry := entries[position], Write):
            disk[entry.offset : entry.offset + len(entry.data)] = entry.data


@given(entries(), st.integers(0, 2**32))
def test_subset_has_all_that_was_flushed_and_of_the_rest_whole_sectors(entries: list[Write | Flush], seed: int) -> None:
    """Each sector is what it was at the last flush or what was written to it since, and never a mixture."""
    log = DiskLog(entries)
    for position in range(len(entries) + 1):
        crash = log.subset(position, replayable(seed), _SECTOR_TEARING)
        may_be = possible(entries[:position])
        for sector, allowed in zip(sectors(image_of(log, crash)), may_be, strict=True):
            assert len(set(sector)) == 1
            assert sector[0] in allowed


def test_subset_over_many_seeds_leaves_each_combination_of_pending_writes() -> None:
    """What is pending may be there or not, each independently of the others."""
    log = DiskLog([Write(0, b"a" * SECTOR_BYTES), Flush(), *(Write(at * SECTOR_BYTES, b"b" * 512) for at in range(3))])
    seen = {bytes(image_of(log, log.subset(5, replayable(seed), _SECTOR_TEARING))) for seed in range(300)}
    assert len(seen) == 2**3


def test_subset_tears_writes_at_sectors_but_not_within_the_superblock() -> None:
    """A write may be torn between any two sectors, except where the file system itself would be lost."""
    write = Write(0, b"x" * 4096)
    log = DiskLog([write])
    whole = [log.subset(1, replayable(seed), TEARING["ext4"]) for seed in range(300)]
    torn = [log.subset(1, replayable(seed), _SECTOR_TEARING) for seed in range(300)]

    def edges(crashes: list[Crash]) -> set[int]:
        return {edge for crash in crashes for part in crash.parts for piece in part.ranges for edge in piece}

    assert edges(torn) == set(range(0, 4097, SECTOR_BYTES))
    assert edges(whole) == edges(torn) - {1536}


def test_subset_from_the_same_seed_is_the_same_crash() -> None:
    """A finding can be made again from its seed."""
    log = DiskLog([Write(at * 4096, b"x" * 8192) for at in range(5)])
    assert log.subset(5, replayable(7), _SECTOR_TEARING) == log.subset(5, replayable(7), _SECTOR_TEARING)
    assert str(log.prefix(1)) == "position 1, flushed before 0, and bytes of [0 at 0: 0-8192]"


@given(entries(), st.integers(0, 600))
def test_decode_log_cut_anywhere_has_the_records_that_are_complete(entries: list[Write | Flush], cut: int) -> None:
    """A record counts once all of it is in the file, and the file's size says how many there are."""
    records = [b"".join(encode_entry(entry)) for entry in entries]
    data = b"".join(records)
    sizes = [sum(map(len, records[:count])) for count in range(len(records) + 1)]
    shorter = max(0, len(data) - cut)
    complete = sum(size <= shorter for size in sizes[1:])
    assert decode_log(data[:shorter]).entries == entries[:complete]
    assert decode_log(data).position(shorter) == complete


def test_history_at_a_position_has_what_was_noted_until_then() -> None:
    """What is acknowledged counts from the position at which it was, what is begun from the one before anything."""
    log = decode_log(b"".join(b"".join(encode_entry(Flush())) for _ in range(4)))
    record_bytes = len(b"".join(encode_entry(Flush())))
    size = 0
    history = History(["a_1", "a_2"], lambda: size)
    size = record_bytes
    history.begin("a_1", 2)
    history.begin_damage(b"strange")
    size = 2 * record_bytes + 1  # a third record is being written
    history.acknowledge("a_1", 2)
    history.acknowledge_damage(b"strange")
    size = 4 * record_bytes
    history.begin("a_1", ABSENT)

    before, begun, acknowledged, removing = (history.at(position, log) for position in (0, 1, 2, 4))
    assert (before.acknowledged["a_1"], before.begun["a_1"], before.damaged) == (ABSENT, set(), set())
    assert (begun.acknowledged["a_1"], begun.begun["a_1"], begun.damaged) == (ABSENT, {2}, {b"strange"})
    assert (acknowledged.acknowledged["a_1"], acknowledged.begun["a_1"]) == (2, set())
    assert (begun.evidence, acknowledged.evidence) == (set(), {b"strange"})
    assert (removing.acknowledged["a_1"], removing.begun["a_1"]) == (2, {ABSENT})


@pytest.mark.parametrize(("images", "prefixes", "subsets"), [(6, 3, 3), (40, 6, 34)])
def test_choose_crashes_takes_half_in_order_or_all_positions(images: int, prefixes: int, subsets: int) -> None:
    """Half of the images are beginnings at different positions; where those are too few, the rest are subsets."""
    log = DiskLog([Write(0, b"x" * 512), Flush(), Write(0, b"y" * 512), Write(512, b"z" * 512), Flush()])
    first, second = choose_crashes(log, 5, images, replayable(1), _SECTOR_TEARING)
    assert (len(first), len(second)) == (prefixes, subsets)
    assert len({crash.position for crash in first}) == prefixes
    assert {crash.position for crash in second} <= {1, 3, 4}
