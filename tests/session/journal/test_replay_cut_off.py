"""A start that is cut off at any system call, and repeated, ends as one that was not cut off."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.replay import replay
from miniclaw.session.removal.quarantine_files import list_quarantined, read_quarantined
from miniclaw.session.removal.staging import StagingArea
from tests.fakes.journalled import FILLING, NOW, Journalled, texts, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.replayed import DAMAGED, MISFIT

ERRORS: Final = [MISFIT, DAMAGED]

CHANGES: Final = frozenset({"mkdir", "open", "write", "fsync", "rename", "link", "unlink"})
"""The calls after each of which the disk may be another than before."""


class KilledError(BaseException):
    """The process is dead."""


def killed_at(number: int) -> FaultyOs:
    """Return system calls that make so many changes, and none after these."""
    fs, made = FaultyOs(), 0

    def hook(name: str, _: tuple[Any, ...]) -> None:
        nonlocal made
        if name in CHANGES:
            made += 1
            if made > number:
                raise KilledError

    fs.on(hook)
    return fs


def lay(path: Path) -> None:
    """Leave behind sessions of all kinds, and three segments, of which the second one is damaged.

    a: goes on. b: is made. c: its file was deleted, and its records fit nowhere. d: was removed, as the second segment
    says. e: was only used. f: a part of it fits.
    """
    path.mkdir(mode=0o700)
    a, b, c, d, e, f = (Journalled(f"web_{name}") for name in "abcdef")
    for told in (a, e, f):
        told.add("one").forget_records().save(path)
    first = [a.add("two", at=NOW).take(), b.add("new", at=NOW).take(), c.add("one").note_saved().take()]
    write_segment(path, *first, d.add("gone").take(), number=1, first=1)
    second = [f.add("two").take(), f.add("lost", at=NOW).take(), d.note_void().take()]
    damaged = write_segment(path, *second, c.add("two", at=NOW).take(), number=2, first=100)
    damaged.write_bytes(damaged.read_bytes().replace(b'"lost"', b'"l st"') + FILLING)
    third = [a.add("three").take(), e.use(NOW, pinned=True).take(), f.add("unfit").take()]
    write_segment(path, *third, number=3, first=200)


def start(path: Path, fs: FaultyOs | None = None) -> None:
    with SessionDirectory.open(path, fs=fs) as directory:
        directory.own()
        StagingArea(directory).recover()
        assert replay(directory).unsaved == []


def state(path: Path) -> dict[str, object]:
    with SessionDirectory.open(path) as reader:
        files = list_quarantined(reader)
        kept = [texts(read_quarantined(reader, file.id)[0]) for file in files if file.header]
        sessions = {file.name: reader.load(file.stem) for file in path.glob("*.json")}
    found = {name: (texts(each), each.last_accessed, each.pinned) for name, each in sessions.items()}
    return {**found, "kept": sorted(kept), "damaged": [file.file for file in files if not file.header]}


def test_start_ends_as_expected(tmp_path: Path, logs: LogRecorder) -> None:
    """The measure for those that are cut off."""
    for error in ERRORS:
        logs.expect_error(error)
    lay(tmp_path / "sessions")
    start(tmp_path / "sessions")
    found = state(tmp_path / "sessions")
    assert {name: each[0] for name, each in found.items() if isinstance(each, tuple)} == {
        "web_a.json": ["one", "two", "three"], "web_b.json": ["new"], "web_e.json": ["one"], "web_f.json": ["one", "two"],
    }  # fmt: skip
    assert (found["kept"], found["damaged"]) == ([["two"], ["unfit"]], ["000000000002.jsonl"])


@pytest.mark.parametrize("shard", range(2))
def test_start_that_is_cut_off_at_any_call_ends_the_same(tmp_path: Path, logs: LogRecorder, shard: int) -> None:
    """Nothing is lost, returns, or is in quarantine twice; the damaged segment goes there behind older ones."""
    whole = tmp_path / "whole"
    lay(whole)
    start(whole)
    expected, number = state(whole), shard
    while True:
        path = tmp_path / str(number)
        lay(path)
        try:
            start(path, killed_at(number))
        except KilledError:
            start(path)
        else:
            break
        assert state(path) == expected, f"cut off after change {number}"
        assert list((path / ".journal").iterdir()) == []
        shutil.rmtree(path)
        number += 2
    assert number > 60
    for error in ERRORS:
        logs.expect_error(error)
