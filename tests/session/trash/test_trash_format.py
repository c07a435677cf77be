"""Entries of the trash as bytes: what goes in comes out, any gzip reads them, and nothing in them is believed."""

from __future__ import annotations

import gzip
import io
import subprocess
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.trash import format as trash_format
from miniclaw.session.trash.format import EntryLine, pack_line, pack_session, unpack, unpack_line

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def line(size: int = 0, session_id: str = "telegram_1") -> EntryLine:
    return EntryLine(
        session_id=session_id,
        key="telegram_1.json",
        removed_at=NOW,
        expires_at=NOW + timedelta(days=7),
        reason="ttl",
        last_accessed=NOW - timedelta(days=31),
        size=size,
        by="service",
    )


def packed(content: bytes, size: int | None = None) -> bytes:
    pieces = [content[at : at + 700] for at in range(0, len(content), 700)]
    return pack_line(line(len(content) if size is None else size)) + b"".join(pack_session(pieces))


@given(st.binary(max_size=5000), st.text())
def test_entry_gives_back_the_bytes(content: bytes, session_id: str) -> None:
    """Whatever the session's file held, and whatever its id is, both come back as they were."""
    about = line(len(content), session_id)
    data = pack_line(about) + b"".join(pack_session([content]))
    assert unpack(io.BytesIO(data).read) == (about, content)
    assert unpack_line(io.BytesIO(data).read) == about


def test_entry_is_a_line_and_a_session_for_any_gzip(tmp_path: Path) -> None:
    """``zcat FILE | tail -n +2`` is the session, newlines and all, and the first line is JSON."""
    content = b'{"session_id":\n"telegram_1"}\n\n\xff\x00'
    (tmp_path / "x.gz").write_bytes(packed(content))
    done = subprocess.run(["sh", "-c", "zcat x.gz | tail -n +2"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == content
    first = gzip.decompress((tmp_path / "x.gz").read_bytes()).split(b"\n")[0]
    assert list(msgspec.json.decode(first)) == [
        "version", "session_id", "key", "removed_at", "expires_at", "reason", "last_accessed", "size", "by",
    ]  # fmt: skip


def test_line_of_a_long_session_is_read_from_the_beginning_alone() -> None:
    """A listing reads a few KiB of an entry, however long the session is."""
    data = packed(bytes(range(256)) * 4000)
    source = io.BytesIO(data + b"x" * 100_000)
    unpack_line(source.read)
    assert source.tell() <= trash_format.HEAD_BYTES


def test_line_of_a_newer_version_is_read() -> None:
    """Fields that this version does not know are skipped."""
    text = msgspec.json.encode({**msgspec.to_builtins(line(0)), "version": 9, "colour": ["blue"]})
    assert unpack_line(io.BytesIO(gzip.compress(text + b"\n")).read).version == 9


@given(st.integers(min_value=0), st.binary(min_size=1, max_size=3))
def test_entry_that_is_damaged_anywhere_is_refused_or_the_same(at: int, noise: bytes) -> None:
    """No damage gives another session: what is not refused is what it was."""
    content = b"the session " * 40
    data = bytearray(packed(content))
    at %= len(data)
    data[at : at + len(noise)] = noise
    try:
        found = unpack(io.BytesIO(bytes(data)).read)
    except ValueError:
        return
    assert found == (line(len(content)), content)  # a byte of the gzip header that means nothing


def test_entry_cut_off_anywhere_is_refused() -> None:
    """Of an entry that ends too early nothing is taken for the session."""
    data = packed(b"the session " * 40)
    for end in range(len(data)):
        with pytest.raises(ValueError, match=r"it ends too early|not sound gzip|says"):
            unpack(io.BytesIO(data[:end]).read)


BOMB = gzip.compress(bytes(64 * 1024 * 1024))
EMPTY_BLOCKS = zlib.compress(b"", 0, 31)[:10] + b"\x00\x00\x00\xff\xff" * 1_000_000


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "too early"),
        (b"no gzip", "not sound"),
        (zlib.compress(b"{}\n"), "not sound"),
        (gzip.compress(b""), "not a line"),
        (gzip.compress(b"{}"), "not a line"),
        (gzip.compress(b"{}\n"), "describes no session"),
        (gzip.compress(b'{"x":' + b"[" * 100_000 + b"\n"), "nested too deeply"),
        (gzip.compress(b'{"session_id":"\xff"}\n'), "describes no session"),
        (
            gzip.compress(msgspec.json.encode(line(0)).replace(b'"size":0', b'"size":-1') + b"\n"),
            "describes no session",
        ),
        (gzip.compress(msgspec.json.encode(line(0)).replace(b"00Z", b"00") + b"\n"), "describes no session"),
        (gzip.compress(msgspec.json.encode(line(0)) + b"\n")[:-8] + bytes(8), "not sound"),
        (BOMB, "larger than"),
        (EMPTY_BLOCKS, "larger than"),
        (packed(b"x") + b"y", "follows"),
        (packed(b"x") + packed(b"y"), "follows"),
        (packed(b"xyz", size=4), "says 4"),
    ],
    ids=range(16),
)
def test_entry_that_is_none_is_refused(data: bytes, why: str) -> None:
    """Each way of being no entry is told, in a `ValueError`."""
    with pytest.raises(ValueError, match=why):
        unpack(io.BytesIO(data).read)


@pytest.mark.parametrize("read", [unpack, unpack_line])
def test_bomb_in_the_line_takes_no_memory(read: Callable[[trash_format.Read], object]) -> None:
    """However much a few bytes unpack to, no more than the bound is ever held."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="larger than"):
        read(io.BytesIO(BOMB).read)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * trash_format.MAX_LINE_BYTES


def test_bomb_in_the_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session beyond the size that one may have is not unpacked to its end."""
    monkeypatch.setattr(trash_format, "MAX_SESSION_BYTES", 1000)
    assert unpack(io.BytesIO(packed(bytes(1000))).read)[1] == bytes(1000)
    with pytest.raises(ValueError, match="larger than 1000"):
        unpack(io.BytesIO(packed(bytes(1001))).read)


def test_pack_line_that_is_too_long_is_refused() -> None:
    """No entry is made whose line would not be read again."""
    limit = trash_format.MAX_LINE_BYTES
    length = limit - len(msgspec.json.encode(line(session_id=""))) - 1
    assert unpack_line(io.BytesIO(pack_line(line(session_id="a" * length))).read).session_id == "a" * length
    with pytest.raises(ValueError, match="too long"):
        pack_line(line(session_id="a" * (length + 1)))
