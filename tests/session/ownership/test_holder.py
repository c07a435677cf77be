"""Who holds a sessions directory, asked by somebody who only looks."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.errors import StoreIOError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.ownership.holder import LOCK_NAME, Holder
from tests.fakes.os_calls import FaultyOs


@pytest.fixture
def directory(sessions_dir: Path) -> Iterator[SessionDirectory]:
    """A directory that is only looked at."""
    with SessionDirectory.open(sessions_dir, create=True) as opened:
        yield opened


def test_find_holder_of_a_directory_that_was_never_owned_is_nobody(directory: SessionDirectory) -> None:
    """There is no lock file, and none is made by asking."""
    assert directory.holder() is None
    assert list(directory.path.iterdir()) == []


def test_find_holder_names_the_owner_until_it_lets_go(directory: SessionDirectory) -> None:
    """The lock tells whether, its file tells who; a file that was left behind says nothing."""
    before = datetime.now(UTC)
    with SessionDirectory.open(directory.path) as owner:
        owner.own()
        holder = directory.holder()
        assert holder is not None
        assert holder.pid == os.getpid()
        assert holder.since is not None
        assert before <= holder.since <= datetime.now(UTC)
        assert str(holder) == f"process {os.getpid()}, since {holder.since:%Y-%m-%d %H:%M:%S} UTC"
    assert (directory.path / LOCK_NAME).read_bytes() != b""
    assert directory.holder() is None


def test_find_holder_takes_nothing_away(directory: SessionDirectory) -> None:
    """Who asked holds nothing afterwards: the directory can be owned at once."""
    with SessionDirectory.open(directory.path) as owner:
        owner.own()
    assert directory.holder() is None
    with SessionDirectory.open(directory.path) as owner:
        owner.own()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b"[" * 200, b'{"pid": "me"}', b'{"since": "2026-11-23T00:00:00"}']
)
def test_find_holder_that_did_not_say_who_it_is_is_another_process(directory: SessionDirectory, text: bytes) -> None:
    """A full disk leaves the lock's file empty; that it is held is known all the same."""
    path = directory.path / LOCK_NAME
    path.write_bytes(text)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = directory.holder()
    assert holder == Holder()
    assert str(holder) == "another process"


def test_find_holder_of_a_fifo_does_not_wait(directory: SessionDirectory) -> None:
    """Whatever lies in the place of the lock, asking ends; nobody can hold a lock on it that miniclaw has made."""
    os.mkfifo(directory.path / LOCK_NAME)
    assert directory.holder() is None


def test_find_holder_that_cannot_be_asked_is_an_error(sessions_dir: Path) -> None:
    """Not to know is not the same as nobody; the error names the lock."""

    class Refusing(OsCalls):
        def flock(self, fd: int, operation: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    sessions_dir.mkdir(parents=True)
    (sessions_dir / LOCK_NAME).touch()
    with SessionDirectory.open(sessions_dir, fs=Refusing()) as directory, pytest.raises(StoreIOError) as caught:
        directory.holder()
    assert caught.value.path == sessions_dir / LOCK_NAME
    assert caught.value.errno == errno.EIO


def test_own_waits_out_somebody_who_only_looks(sessions_dir: Path) -> None:
    """A look at the lock in just that moment does not keep anybody from owning the directory."""
    fs = FaultyOs()
    refused = iter([True, True, False, True, False])  # of the directory, and of its .lock

    def hook(called: str, args: tuple[object, ...]) -> None:
        if called == "flock" and next(refused, False):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    fs.on(hook)
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        assert directory.is_owned
