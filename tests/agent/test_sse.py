"""Server-sent events: the same events however the bytes are cut, and bounds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.agent.openai.sse import MAX_EVENT_BYTES, EventDecoder

STREAM = (
    b"\xef\xbb\xbfdata: one\n\n"
    b": a comment\ndata:two\r\ndata:  more\r\n\r\n"
    b"event: x\nid: 7\nretry: 3\n\n"
    b"data\n\n"
    b"data: \xc3\xbc \xf0\x9f\x98\x80\r\r"
    b"\n\n\r\n"
    b"database: no\ndata: last\n\n"
    b"data: never ended\n"
)
EVENTS = ["one", "two\n more", "", "ü 😀", "last"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_decoder_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    """Where the network cuts the bytes is nobody's business: in a character, in a line end, anywhere."""
    decoder = EventDecoder()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(places)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_decoder_byte_by_byte_gives_the_same_events() -> None:
    """One byte at a time is the worst cut."""
    decoder = EventDecoder()
    assert [event for index in range(len(STREAM)) for event in decoder.feed(STREAM[index : index + 1])] == EVENTS


@given(st.binary(max_size=200))
def test_decoder_any_bytes_give_events_or_one_kind_of_error(data: bytes) -> None:
    """Nonsense is at worst a ValueError."""
    problem = "text that is not UTF-8"
    try:
        assert all(isinstance(event, str) for event in EventDecoder().feed(b"data:" + data + b"\n\n"))
    except ValueError as error:
        problem = str(error)
    assert problem == "text that is not UTF-8"


def test_decoder_event_at_the_bound_is_taken_and_beyond_it_refused() -> None:
    """The bound is inclusive, and a line that never ends does not get around it."""
    data = b"data: " + b"x" * (MAX_EVENT_BYTES - 6)
    assert [len(event) for event in EventDecoder().feed(data + b"\n\n")] == [MAX_EVENT_BYTES - 6]
    for too_much in (data + b"x", data + b"x\n"):
        with pytest.raises(ValueError, match="1,048,576 bytes"):
            list(EventDecoder().feed(too_much))


def test_decoder_many_small_events_are_no_large_one() -> None:
    """What counts is the event, not the stream."""
    decoder = EventDecoder()
    for _ in range(4):
        assert len(list(decoder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES // 2) + b"\n\n"))) == 1
