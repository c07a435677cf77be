"""What is no session is refused with ValueError, and never with anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.format.codec import decode_header, decode_header_prefix, decode_session
from miniclaw.session.types import Session, SessionHeader

MESSAGE = b'{"role":"user","content":"hi","timestamp":"2026-02-14T10:30:00Z"}'
GOOD = (
    b'{"session_id":"web_1","channel":"web","chat_id":"1","created_at":"2026-02-14T10:30:00Z",'
    b'"last_accessed":"2026-02-14T15:45:00Z","x":0,"messages":[' + MESSAGE + b"]}"
)
DEEP_LISTS = b"[" * 100_000 + b"]" * 100_000
DEEP_OBJECTS = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


def with_extra(value: bytes) -> bytes:
    return GOOD.replace(b'"x":0', b'"x":' + value)


BAD = {
    "empty": b"",
    "blank": b" \n",
    "nul bytes": b"\0" * 512,
    "truncated": GOOD[:-1],
    "truncated in the header": GOOD[:60],
    "trailing text": GOOD + b"x",
    "two documents": GOOD + GOOD,
    "list": b"[" + GOOD + b"]",
    "null": b"null",
    "number": b"1",
    "string": b'"x"',
    "no session_id": GOOD.replace(b'"session_id"', b'"id"'),
    "session_id a number": GOOD.replace(b'"web_1"', b"1"),
    "leading zero": with_extra(b"01"),
    "single quotes": GOOD.replace(b'"', b"'"),
    "trailing comma": GOOD[:-1] + b",}",
    "comment": b"// session\n" + GOOD,
    "100,000 lists unclosed": b"[" * 100_000,
    "100,000 objects unclosed": b'{"a":' * 100_000,
    "invalid UTF-8": GOOD.replace(b'"web"', b'"w\xff"'),
    "UTF-8 cut short": GOOD.replace(b'"1"', b'"\xe2\x82"'),
}


def test_good_sample_decodes() -> None:
    """The sample that the bad ones are made of is good, so each of them is bad for one reason."""
    assert decode_header(GOOD).session_id == decode_session(GOOD).session_id == "web_1"


@pytest.mark.parametrize("name", BAD)
def test_decode_of_bad_file_raises_value_error(name: str) -> None:
    """Neither the header nor the session of a bad file can be had, and the error is always a ValueError."""
    for decode in (decode_header, decode_session):
        with pytest.raises(ValueError, match=r"\w"):
            decode(BAD[name])


@pytest.mark.parametrize("name", BAD)
def test_decode_header_prefix_of_bad_file_never_raises(name: str) -> None:
    """A prefix that cannot be decoded is no error; the whole file has to tell."""
    header = decode_header_prefix(BAD[name])
    assert header is None or header.session_id == "web_1"


@given(st.data())
def test_decode_of_mutated_file_raises_value_error_or_succeeds(data: st.DataObject) -> None:
    """Bytes that are cut, doubled, changed or put in lead to a session or to a ValueError."""
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mutated)))
        end = data.draw(st.integers(start, min(start + 20, len(mutated))))
        mutated[start:end] = data.draw(st.binary(max_size=6))
    _decode_all(bytes(mutated))


@given(st.binary(max_size=200))
def test_decode_of_arbitrary_bytes_raises_value_error(data: bytes) -> None:
    """Random bytes are refused with ValueError."""
    assert _decode_all(data) == []


def _decode_all(data: bytes) -> list[SessionHeader | Session]:
    decode_header_prefix(data)
    decoded: list[SessionHeader | Session] = []
    for decode in (decode_header, decode_session):
        try:
            decoded.append(decode(data))
        except ValueError:
            continue
    return decoded
