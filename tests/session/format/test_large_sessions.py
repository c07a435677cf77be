"""Large sessions: no second copy of one is made when it is saved or loaded, and a save of several writes is still one."""

from __future__ import annotations

import errno
import gc
import os
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from miniclaw.errors import SessionTooLargeError, StoreIOError
from miniclaw.session.disk.atomic import READ_FLAGS, opened, read_whole
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.format.content import content_of
from miniclaw.session.format.footprint import session_bytes
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.types import Message, Session, ToolCall
from tests.fakes.os_calls import FaultyOs

T = TypeVar("T")

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KB = 1000
MB = 1_000_000
TEXTS = {"ascii": "Hello there. ", "latin": "Grüße an alle. ", "cyrillic": "Привет всем. ", "emoji": "Hello there 🙂. "}


def session_of(size: int, text: str = "Hello. ", *, message_bytes: int = 2 * KB) -> Session:
    """Return a session of about so many bytes in its file, each text of its own, none encoded before."""
    times = max(1, message_bytes // len(text.encode()))
    count = max(1, size // message_bytes)
    messages = [Message("user", f"{number} {text * times}", NOW) for number in range(count)]
    return Session("telegram_1", "telegram", "1", NOW, NOW, messages)


def traced(work: Callable[[], T]) -> tuple[T, int, int]:
    """Do some work, and return its result, what it has left allocated, and what it had at its peak."""
    gc.collect()
    tracemalloc.start()
    try:
        result = work()
        gc.collect()
        return result, *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


@pytest.fixture
def faulty(directory: SessionDirectory, fs: FaultyOs) -> SessionDirectory:
    """An owned directory with a session in it."""
    directory.write(session_of(KB))
    fs.calls.clear()
    return directory


@pytest.fixture
def warm(sessions_dir: Path) -> Iterator[SessionDirectory]:
    """An owned directory in which all that is done has been done once, so that nothing is measured that stays."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        directory.write(session_of(600 * KB))
        directory.load("telegram_1")
        yield directory


def temporary_files(directory: SessionDirectory) -> list[str]:
    return os.listdir(directory.path / ".work")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("message_bytes", [2 * KB, 100 * KB])
def test_write_large_session_makes_no_copy_of_it(warm: SessionDirectory, text: str, message_bytes: int) -> None:
    """At no moment is much more than a piece of the file in memory, and afterwards nothing is left of it."""
    session = session_of(8 * MB, text, message_bytes=message_bytes)
    _, left, peak = traced(lambda: warm.write(session))
    assert peak < 3 * MB
    assert left < 100 * KB
    assert (warm.path / "telegram_1.json").read_bytes() == codec.encode_session(session)


def test_write_of_large_arguments_makes_no_copy_of_them(warm: SessionDirectory) -> None:
    """What a tool was called with counts as what was said does."""
    calls = [(ToolCall(f"call_{n}", "write_file", f"{n} ö " + "x" * 100 * KB),) for n in range(80)]
    messages = [Message("assistant", "", NOW, call) for call in calls]
    session = Session("telegram_1", "telegram", "1", NOW, NOW, messages)
    _, left, peak = traced(lambda: warm.write(session))
    assert peak < 3 * MB
    assert left < 100 * KB


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_load_large_session_makes_no_copy_of_it_or_its_file(warm: SessionDirectory, text: str) -> None:
    """There is the file's content once, and the session once, without what encoding it leaves in its texts."""
    never_encoded = session_bytes(session_of(8 * MB, text))
    warm.write(session_of(8 * MB, text))
    size = (warm.path / "telegram_1.json").stat().st_size
    session, left, peak = traced(lambda: warm.load("telegram_1"))
    assert left == pytest.approx(never_encoded, rel=0.05)
    assert peak < left + 1.1 * size
    assert session_bytes(session) == pytest.approx(left, rel=0.05)


def test_write_small_session_is_one_write(faulty: SessionDirectory, fs: FaultyOs) -> None:
    """A session of usual size is handed to the system at once; the work folder is found anew around that."""
    faulty.write(session_of(200 * KB))
    calls = [name for name, _ in fs.calls if name != "fstat"]  # of the folder's owner, where this is root
    assert calls == ["open", "open", "write", "fsync", "close", "rename", "close"]


def test_encode_in_pieces_is_the_file_in_pieces(warm: SessionDirectory) -> None:
    """However large the messages are, the pieces are the file, in order, and none is empty or much too large."""
    for size, message_bytes in [(1, 1), (2 * MB, 300), (2 * MB, 100 * KB), (2 * MB, MB), (257 * KB, 257 * KB)]:
        session = session_of(size, message_bytes=message_bytes)
        pieces = list(codec.encode_in_pieces(session))
        assert b"".join(pieces) == codec.encode_session(session)
        assert min(map(len, pieces)) > 0
        assert max(map(len, pieces)) < 2 * codec.PIECE_BYTES + message_bytes
        warm.write(session)
        assert warm.load("telegram_1") == session


def test_encode_in_pieces_keeps_what_miniclaw_does_not_know(warm: SessionDirectory) -> None:
    """Fields of others come back from a large file as from a small one: after the messages, and in each of them."""
    session = session_of(MB)
    text = codec.encode_session(session).replace(b'"role"', b'"mood":"good","role"')
    text[-1:] = b',"unknown":[1,2]}'
    (warm.path / "telegram_1.json").write_bytes(text)
    loaded = warm.load("telegram_1")
    assert len(list(codec.encode_in_pieces(loaded))) > 1
    assert codec.encode_session(loaded) == text
    warm.write(loaded)
    assert (warm.path / "telegram_1.json").read_bytes() == text


@pytest.mark.parametrize("number", [1, 2, 3])
def test_write_large_session_that_fails_in_the_middle_leaves_the_old_file(
    faulty: SessionDirectory, fs: FaultyOs, number: int
) -> None:
    """A disk that is full at any piece costs nothing but the save."""
    before = (faulty.path / "telegram_1.json").read_bytes()
    writes: list[str] = []

    def full(name: str, _: tuple[Any, ...]) -> None:
        if name == "write":
            writes.append(name)
            if len(writes) == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fs.on(full)
    with pytest.raises(StoreIOError, match="No space left"):
        faulty.write(session_of(2 * MB))
    assert len(writes) == number
    assert (faulty.path / "telegram_1.json").read_bytes() == before
    assert temporary_files(faulty) == []


def test_write_large_session_that_cannot_be_encoded_leaves_the_old_file(faulty: SessionDirectory, fs: FaultyOs) -> None:
    """What cannot be encoded may be found only after much has been written, and costs nothing but the save."""
    before = (faulty.path / "telegram_1.json").read_bytes()
    session = session_of(2 * MB)
    session.messages[-1] = Message("user", "ends in half a character: \ud83d", NOW)
    with pytest.raises(UnicodeEncodeError):
        faulty.write(session)
    assert "write" in [name for name, _ in fs.calls]
    assert (faulty.path / "telegram_1.json").read_bytes() == before
    assert temporary_files(faulty) == []


@pytest.mark.parametrize("text", ["Hello. ", "\x01"])
def test_write_too_large_session_writes_nothing(
    faulty: SessionDirectory, fs: FaultyOs, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A session that could not be loaded again is refused before anything is written, also where only its file, full
    of escapes, would be too large: it would be tried again at each autosave."""
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 3 * MB)
    size = 4 * MB if text.isprintable() else MB
    with pytest.raises(SessionTooLargeError, match="more than the 3000000"):
        faulty.write(session_of(size, text))
    assert fs.calls == []
    faulty.write(session_of(2 * MB))
    assert faulty.load("telegram_1").messages


def test_content_that_grows_too_large_behind_us_is_refused(sessions_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was counted may be wrong, if somebody changed a session around the manager; the pieces themselves are not."""
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 100 * MB)
    content = content_of(session_of(2 * MB), sessions_dir, "telegram_1.json")
    assert not isinstance(content, (bytes, bytearray, memoryview))
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", MB)
    with pytest.raises(SessionTooLargeError, match=r"telegram_1\.json"):
        list(content)


def test_too_large_file_of_an_odd_name_is_put_back_unread(sessions_dir: Path) -> None:
    """Where the content tells a captured file's name, one that is too large to be a session keeps its own."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        aside = sessions_dir / ".work" / "rm-0123456789abcdef"
        aside.mkdir(parents=True)
        (aside / "web_Müller.json").touch()
        os.truncate(aside / "web_Müller.json", 3 * 2**30)
        assert StagingArea(directory).recover().put_back == 1
        assert (sessions_dir / "web_Müller.json").stat().st_size == 3 * 2**30


def test_read_whole_of_known_size_makes_no_copy(tmp_path: Path) -> None:
    """A large file is not read in parts that are joined."""
    fs = OsCalls()
    (tmp_path / "file").write_bytes(bytes(8 * MB))
    with opened(fs, str(tmp_path / "file"), READ_FLAGS) as fd:
        content, _, peak = traced(lambda: read_whole(fs, fd, size=8 * MB))
    assert len(content) == 8 * MB
    assert peak < 10 * MB


@pytest.mark.parametrize("size", [0, 1, 4999, 5000, 5001, 1_000_000])
def test_read_whole_reads_all_there_is_whatever_was_expected(tmp_path: Path, size: int) -> None:
    """A file that has grown or shrunk since it was looked at is read as it is."""
    fs = OsCalls()
    content = bytes(range(250)) * 20
    (tmp_path / "file").write_bytes(content)
    with opened(fs, str(tmp_path / "file"), READ_FLAGS) as fd:
        assert read_whole(fs, fd, size=size) == content
    (tmp_path / "file").write_bytes(b"")
    with opened(fs, str(tmp_path / "file"), READ_FLAGS) as fd:
        assert read_whole(fs, fd, size=size) == b""
