"""A file that is verified before a removal is one that loads, and its header is that of the loaded session."""

from __future__ import annotations

import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miniclaw.errors import CorruptSessionError, MismatchedSessionError
from miniclaw.session.entries import ProblemFile, StoredSession, always
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format.codec import HEADER_PREFIX_BYTES, decode_header, decode_session
from miniclaw.session.types import Session, SessionHeader
from tests.fakes.json_corpus import EITHER, INVALID, VALID
from tests.fakes.session_shapes import session_shapes

MODIFIED = datetime(2026, 3, 1, tzinfo=UTC)
MESSAGE = b'{"role":"user","content":"hi","timestamp":"2026-02-14T10:30:00Z"}'
TIME = b'"2026-02-14T15:45:00Z"'
DEEP = b'{"a":[' * 3000 + b"]}" * 3000
DIGITS = b"9" * 5000

TIMES = st.sampled_from(
    [
        TIME, TIME, TIME, b'"2026-02-14T15:45:00.123456789+02:00"', b'"2026-02-14 15:45"', b"1771083900", b'"1771083900"',
        b'"2026-02-14T15:45:00\\u005a"', b'"9999-12-31T23:59:59Z"', b'"9999-12-31T23:59:59-12:00"',
        b'"0001-01-01T00:00:00+12:00"', b'"1970-01-01T00:00:00Z"', b"1e999", b"NaN", b"null", b'"soon"', DIGITS, DEEP,
    ]
)  # fmt: skip
FIELDS = {
    b"session_id": st.sampled_from([b'"web_1"', b'"web_1"', b'"web_2"', b'"web"', b'"_"', b'""', b"1", b'"web_\\u0000"', b'"web_\xff"']),
    b"channel": st.sampled_from([b'"web"', b'"web"', b'"we\\u0062"', b'""', b"7", b"null", b'"w\\ud800"', DEEP]),
    b"chat_id": st.sampled_from([b'"1"', b'"1"', b"1", b'"\\u0000"', b'""', b"[]", b'"\xe2\x82"', DIGITS]),
    b"created_at": TIMES,
    b"last_accessed": TIMES,
    b"pinned": st.sampled_from([b"true", b"false", b"null", b'"no"', b"1", DEEP, b"[0]"]),
    b"messages": st.sampled_from(
        [b"[]", b"[" + MESSAGE + b"]", b"[" + MESSAGE + b",7," + MESSAGE + b"]", b"[" + DEEP + b"]", b"null", b"{}", b"7"]
        + [b"[" + value + b"]" for value in (*VALID, *EITHER)]
    ),
    b"x": st.sampled_from([*VALID, *EITHER, *INVALID, b'"messages"', DEEP, DIGITS]),
    b"\\u0078": st.sampled_from([b"0"]),
    b"\xff": st.sampled_from([b"0"]),
    b"\\ud800": st.sampled_from([b"0"]),
    b"messa\\u0067es": st.sampled_from([b"[]", b"7"]),
}  # fmt: skip
USUAL = (b"session_id", b"channel", b"chat_id", b"created_at", b"last_accessed", b"messages")
AROUND = st.sampled_from(
    [(b"", b"")] * 4
    + [(b"\xef\xbb\xbf", b""), (b"", b"\0" * 50), (b" \n", b" \r\n\0"), (b"\0", b""), (b"", b"x"), (b"[", b"]"), (b"", b"{}")]
)  # fmt: skip
ENCODINGS = st.sampled_from([*["utf-8"] * 8, "utf-16", "utf-32", "utf-16-be", "latin-1"])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a file of any shape: fields usual, odd, missing and doubled, in any order, with damage now and then."""
    names = [*USUAL, *draw(st.lists(st.sampled_from([*FIELDS]), max_size=3))]
    for missing in draw(st.lists(st.sampled_from(USUAL), max_size=1)):
        names.remove(missing)
    if draw(st.booleans()):
        names = draw(st.permutations(names))
    usual = {b"session_id": b'"web_1"', b"channel": b'"web"', b"chat_id": b'"1"', b"messages": b"[" + MESSAGE + b"]"}
    is_odd = draw(st.sampled_from([(b"messages",), (b"created_at",), USUAL]))
    members = [
        b'"' + name + b'":' + (draw(FIELDS[name]) if name in is_odd or name not in USUAL else usual.get(name, TIME))
        for name in names
    ]
    before, after = draw(AROUND)
    data = before + b"{" + b",".join(members) + b"}" + after
    encoding = draw(ENCODINGS)
    if encoding != "utf-8":
        data = data.decode(errors="replace").encode(encoding, errors="replace")
    if draw(st.integers(0, 4)) == 0:
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 30, len(data))))
        data = data[:start] + draw(st.binary(max_size=6)) + data[end:]
    return data


def with_messages(messages: bytes) -> bytes:
    return (
        b'{"session_id":"web_1","channel":"web","chat_id":"1","created_at":' + TIME + b',"last_accessed":' + TIME
        + b',"messages":' + messages + b"}"
    )  # fmt: skip


def header_or_none(data: bytes) -> SessionHeader | None:
    try:
        return decode_header(data, MODIFIED)
    except ValueError:
        return None


def loaded_or_none(data: bytes) -> SessionHeader | None:
    try:
        return header_of(decode_session(data, MODIFIED))
    except ValueError:
        return None


def header_of(session: Session) -> SessionHeader:
    return SessionHeader(session.session_id, session.channel, session.chat_id, session.last_accessed, session.pinned)


@given(files() | session_shapes().map(lambda shape: shape.data) | st.binary(max_size=100))
@example(with_messages(b"7").replace(TIME, b'"9999-12-31T23:59:59-12:00"'))
@example(with_messages(b'[{"content":"\xff"}],"last_accessed":' + TIME))
@example(with_messages(b"7").replace(b'"web_1"', b'"web"'))
def test_header_of_any_file_is_that_of_the_loaded_session(data: bytes) -> None:
    """Verification builds no messages, and its verdict and its header are those of the loader all the same.

    Except for an id that no session has: its file fits no name, and is not removed whatever the loader makes of it.
    """
    found = header_or_none(data)
    if found is None or "_" in found.session_id:
        assert found == loaded_or_none(data)


@given(files(), st.booleans())
def test_read_row_verified_of_any_file_agrees_with_load(data: bytes, is_large: bool) -> None:
    """A row is a session exactly if the store serves it, in a small file and in one of several pages."""
    if is_large and data.startswith(b"{"):
        data = b'{"y":"' + b"y" * HEADER_PREFIX_BYTES + b'",' + data[1:]
    with TemporaryDirectory() as folder:
        path = Path(folder, "web_1.json")
        path.write_bytes(data)
        os.utime(path, (MODIFIED.timestamp(), MODIFIED.timestamp()))
        with SessionDirectory.open(Path(folder)) as directory:
            row = directory.read_row(path.name, verify=always)
            if isinstance(row, StoredSession):
                assert row.header == header_of(directory.load("web_1"))
                return
            assert isinstance(row, ProblemFile)
            error = {"corrupt": CorruptSessionError, "mismatched": MismatchedSessionError}[row.kind]
            with pytest.raises(error):
                directory.load("web_1")


ENDS = (b"", b"}", b"]", b",]}", b"]]}", b"}]}", b',{"role":"user","content":"cut', b'],"pinned":}', b"]}]", b"]}\0{")


@pytest.mark.parametrize("end", [*ENDS, *(b"," + value + b"]}" for value in INVALID)])
def test_read_row_verified_of_damage_behind_the_first_page_is_corrupt(tmp_path: Path, end: bytes) -> None:
    """The beginning shows a session that may be expired; only the rest shows the damage, which keeps the file."""
    conversation = b"[" + b",".join([MESSAGE] * (HEADER_PREFIX_BYTES // len(MESSAGE) + 1))
    (tmp_path / "web_1.json").write_bytes(with_messages(conversation)[:-1] + end)
    with SessionDirectory.open(tmp_path) as directory:
        assert isinstance(directory.read_row("web_1.json"), StoredSession)
        row = directory.read_row("web_1.json", verify=always)
        assert isinstance(row, ProblemFile)
        assert row.kind == "corrupt"


def test_read_row_verified_makes_no_messages(tmp_path: Path) -> None:
    """It takes the memory of the file's content, and no object for any of the messages."""
    data = with_messages(b"[" + b",".join([MESSAGE] * 10_000) + b"]")
    (tmp_path / "web_1.json").write_bytes(data)
    with SessionDirectory.open(tmp_path) as directory:
        tracemalloc.start()
        try:
            assert isinstance(directory.read_row("web_1.json", verify=always), StoredSession)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(data) < peak < 1.1 * len(data)
