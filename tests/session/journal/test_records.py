"""The records of the journal: how they are written, and what is read of a segment that is torn or damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniclaw.session.format import codec
from miniclaw.session.journal.records import (
    Body,
    Record,
    add_body,
    body,
    digest,
    lines,
    live_records,
    read_line,
    read_segment,
    use_body,
)
from miniclaw.session.types import Message, Session, ToolCall
from tests.fakes.journalled import FILLING, NOW, OLD, Journalled, segment_of

BATCHES: Final = (2, 1, 3, 2)


def batches(sizes: tuple[int, ...] = BATCHES) -> list[list[Body]]:
    """Return batches of so many records."""
    told = Journalled()
    return [told.add(*[f"{size}{n}" for n in range(size)]).take() for size in sizes]


def numbers(records: list[Record]) -> list[int]:
    return [record.i for record in records]


# One record -------------------------------------------------------------------------------------------------------


def test_lines_are_json_with_a_checksum_and_consecutive_numbers() -> None:
    """Any tool can read them, and each one can be checked alone."""
    told = Journalled().add("one", "two", at=NOW).use(pinned=True).note_saved(7).note_void()
    written = lines(5, told.take()).splitlines()
    documents = [json.loads(line) for line in written]
    assert [(each["i"], each["b"]) for each in documents] == [(5, 5), (6, 5), (7, 5), (8, 5), (9, 5)]
    assert [each["op"] for each in documents] == ["add", "add", "use", "saved", "void"]
    assert all(int(each["crc"], 16) == crc32(line[18:]) for each, line in zip(documents, written, strict=True))
    assert documents[1]["prev"] == f"{crc32(msgspec.json.encode(told.session.messages[0])):08x}"
    assert documents[1]["m"] == {"role": "user", "content": "two", "timestamp": "2026-11-23T12:00:00Z"}
    assert (documents[2]["n"], documents[2]["pinned"], documents[3]["upto"]) == (2, True, 7)


def test_line_is_read_as_it_was_written() -> None:
    """Every member that a start needs is there again."""
    told = Journalled().add("one", at=NOW)
    (line,) = lines(3, told.take()).splitlines()
    record = read_line(line)
    assert record is not None
    assert (record.i, record.b, record.op, record.s, record.n, record.prev) == (3, 3, "add", "web_a", 0, "")
    assert (record.life, record.la, record.pinned) == (OLD, NOW, False)
    assert codec.read_message(record.m, NOW) == told.session.messages[0]


def _framed(rest: bytes) -> bytes:
    return b'{"crc":"%08x",%b' % (crc32(rest), rest)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"x" * 40, b'{"crc":"00000000","i":1,"b":1,"op":"open"}', _framed(b'"i":1,"b":1,"op":"unknown"}'),
        _framed(b'"i":1,"b":1,"op":"use","life":"not a time"}'), _framed(b'"i":1,"b":1,"op":"open"'),
        _framed(b'"i":1,"b":1,"op":"add","m":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        _framed(b'"i":1,"b":1,"op":"use","s":"\xff"}'), b" " + _framed(b'"i":1,"b":1,"op":"open"}'),
    ],
)  # fmt: skip
def test_line_that_is_no_record_is_none(line: bytes) -> None:
    """It is never an exception, whatever it holds, and whether its checksum is right or not."""
    assert read_line(line) is None


@pytest.mark.parametrize("session_id", ["", "web", "../x_y", "Web_a", "web_"])
def test_record_of_no_session_is_damage(session_id: str) -> None:
    """No name of a file can be made of it."""
    wrong = body("void", {"s": session_id})
    kept, is_damaged = read_segment(segment_of([[wrong], *batches()]))
    assert is_damaged
    assert session_id not in {record.s for record in kept if record.op != "open"}


def test_message_with_more_than_its_fields_is_not_written() -> None:
    """Its unknown fields would be lost; the session is saved as a whole then."""
    source = b'{"role":"user","content":"hi","timestamp":"2026-11-23T12:00:00Z","rating":5}'
    session = Session("web_a", "web", "a", OLD, NOW, [codec.read_message(msgspec.Raw(source), NOW)])
    with pytest.raises(ValueError, match="source"):
        add_body("web_a", session, 0, "")


def test_message_that_is_no_unicode_is_not_written() -> None:
    """A lone surrogate is in the files of other programs, and only the text there can be written back."""
    session = Session("web_a", "web", "a", OLD, NOW, [Message("user", "\ud800", NOW)])
    with pytest.raises(ValueError, match="surrogates"):
        add_body("web_a", session, 0, "")


def test_use_of_a_session_that_a_caller_has_broken_is_not_written() -> None:
    """No reader could understand it."""
    session = Session("web_a", "web", "a", OLD, datetime(2026, 1, 1))  # noqa: DTZ001 - a time without a zone
    with pytest.raises(ValueError, match="timezone"):
        use_body("web_a", session, len(session.messages))


MESSAGES: Final = [
    Message("user", "hi", NOW),
    Message("assistant", "größer 🙂\n\u2028", NOW, (ToolCall("1", "f", '{"a": "ä"}'),)),
    Message("tool_result", "", NOW, tool_call_id="1"),
    Message("user", "x" * 100_000, NOW.replace(microsecond=123456), inbound_id="a:1"),
    Message("user", "of a program without a clock", datetime(1969, 7, 20, tzinfo=UTC)),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_digest_is_that_of_the_record_and_of_the_file(message: Message) -> None:
    """It joins records to one another, and to a file that was written and read meanwhile."""
    session = Session("web_a", "web", "a", OLD, NOW, [message])
    (loaded,) = codec.decode_session(bytes(codec.encode_session(session))).messages
    assert add_body("web_a", session, 0, "")[1] == digest(message) == digest(loaded)


@pytest.mark.parametrize("form", [{"indent": 2}, {"sort_keys": True}, {"ensure_ascii": True}])
def test_digest_outlasts_another_form_of_the_file(form: dict[str, Any]) -> None:
    """Who has only formatted a file anew has not changed what was said."""
    text = json.dumps({**msgspec.to_builtins(MESSAGES[1]), "rating": 5}, **form)
    assert digest(codec.read_message(msgspec.Raw(text.encode()), NOW)) == digest(MESSAGES[1])


def test_digest_of_a_message_without_unicode_is_that_of_its_source() -> None:
    """It differs with its text, and is never an exception."""
    texts = [rb'{"role":"user","content":"\ud800%d","timestamp":"2026-11-23T12:00:00Z"}' % n for n in range(2)]
    assert len({digest(codec.read_message(msgspec.Raw(text), NOW)) for text in texts}) == 2


# A segment --------------------------------------------------------------------------------------------------------


def expected(sizes: tuple[int, ...], damaged: bytes, whole: bytes) -> tuple[list[int], bool] | None:
    """Return what has to be read of a damaged segment: the numbers of its records, and whether it counts as damaged.

    None: the first batch is lost as a whole, with the head of the second one, which is the last. That cannot be told
    from a first batch that is torn.
    """
    lines_of_it = whole.rstrip(b"\n").split(b"\n")
    left = set(damaged.split(b"\n"))
    survived = [line in left for line in lines_of_it]
    batch_of = [b for b, size in enumerate(sizes) for _ in range(size + (b == 0))]
    found = [b for b, is_there in zip(batch_of, survived, strict=True) if is_there]
    if not found:
        return [], False
    first, last = found[0], found[-1]
    start = batch_of.index(first)
    if first == last > 0 and not survived[start]:
        return None
    before = [n + 1 for n, b in enumerate(batch_of) if b < last and survived[n]]
    is_damaged = len(before) < batch_of.index(last)
    at = batch_of.index(last)
    while at and not (survived[at - 1] or survived[at]):  # a hole that begins before it: all that is left is kept
        at += 1
    while at < len(batch_of) and batch_of[at] == last and survived[at]:
        before.append(at + 1)
        at += 1
    return before, is_damaged


def check(damaged: bytes, whole: bytes, sizes: tuple[int, ...] = BATCHES) -> None:
    kept, is_damaged = read_segment(damaged)
    wanted = expected(sizes, damaged, whole)
    if wanted is not None:
        assert (numbers(kept), is_damaged) == wanted


WHOLE: Final = segment_of(batches()) + b"\n" * 50


def test_segment_is_read_as_it_was_written() -> None:
    """What fills it is no record."""
    kept, is_damaged = read_segment(WHOLE + FILLING)
    assert (numbers(kept), is_damaged) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], False)
    assert read_segment(b"") == read_segment(FILLING) == ([], False)


@pytest.mark.parametrize("bit", [0, 3, 6])
def test_flipped_bit_is_seen_wherever_it_is(bit: int) -> None:
    """It costs its record: silently in the last batch, which may be torn, and else as damage."""
    for at in range(len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[at] ^= 1 << bit
        check(bytes(damaged), WHOLE)


@pytest.mark.parametrize("filled", [b"", b"\0" * 5000, FILLING], ids=["cut", "zeroes", "filling"])
def test_end_that_is_missing_is_a_torn_batch(filled: bytes) -> None:
    """What is whole before it is kept, and nothing is damage: the rest may never have been written."""
    ends = [end for end in range(len(WHOLE)) if WHOLE[end - 1 : end + 1] == b"}\n"]
    for at in range(len(WHOLE)):
        needed = at - (filled[:1] == b"\0")  # the line feed as well
        kept, is_damaged = read_segment(WHOLE[:at] + filled)
        assert (numbers(kept), is_damaged) == (list(range(1, sum(end <= needed for end in ends) + 1)), False)


def test_missing_batch_is_damage_wherever_it_is() -> None:
    """A later one was written after it was synced."""
    lines_of_it = WHOLE.rstrip(b"\n").split(b"\n")
    ends = [3, 4, 7, 9]
    for begin, end in zip([0, *ends], ends[:-1], strict=False):
        rest = b"\n".join([*lines_of_it[:begin], *lines_of_it[end:]]) + FILLING
        kept, is_damaged = read_segment(rest)
        assert is_damaged
        assert numbers(kept) == [n for n in range(1, 10) if not begin < n <= end]


def test_record_after_a_hole_in_the_last_batch_does_not_count() -> None:
    """The batch was never acknowledged; a later record without the one before would be a gap."""
    lines_of_it = WHOLE.rstrip(b"\n").split(b"\n")
    kept, is_damaged = read_segment(b"\n".join([*lines_of_it[:7], *lines_of_it[8:]]))
    assert (numbers(kept), is_damaged) == ([1, 2, 3, 4, 5, 6, 7], False)


@settings(max_examples=400)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6).map(tuple),
    holes=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 600)), min_size=1, max_size=3),
    kind=st.sampled_from([b"\0", b"\n", b"\xff", b"}", b'"', b"{"]),
)
def test_damaged_segment_loses_silently_at_most_its_last_batch(
    sizes: tuple[int, ...], holes: list[tuple[float, int]], kind: bytes
) -> None:
    """Whatever a disk does to it, reading is no exception, and what is missing before the last batch is reported."""
    whole = segment_of(batches(sizes))
    damaged = bytearray(whole + b"\n" * 20)
    for at, size in holes:
        start = int(at * len(whole))
        end = min(start + size, len(damaged))
        damaged[start:end] = kind * (end - start)
    check(bytes(damaged), whole, sizes)


# The records that count --------------------------------------------------------------------------------------------


def live(*told: Journalled) -> dict[str, list[int]]:
    bodies = [each for one in told for each in one.take()]
    found = live_records(read_segment(segment_of([bodies]))[0])
    return {session_id: numbers(records) for session_id, records in found.items()}


def test_records_before_a_void_count_no_more() -> None:
    """Neither do those that say that there was a file."""
    assert live(Journalled().add("one").note_saved().note_void()) == {}
    assert live(Journalled().add("one").note_saved().note_void().add("two")) == {"web_a": [5]}
    assert live(Journalled().add("one"), Journalled("web_b").note_void()) == {"web_a": [2]}


def test_records_up_to_that_of_a_void_count_no_more() -> None:
    """Those that were written before it, and are of the session that begins anew, do count."""
    told = Journalled().add("one", "two")
    told.bodies.append(body("void", {"s": "web_a", "upto": 2}))
    assert live(told) == {"web_a": [3]}


def test_records_that_a_file_holds_count_no_more_and_the_file_is_known() -> None:
    """Records that were written while it was saved do count."""
    assert live(Journalled().add("one", "two", "three").note_saved(3)) == {"web_a": [5, 4]}
    assert live(Journalled().add("one", "two", "three").note_saved()) == {"web_a": [5]}
    assert live(Journalled().add("one").note_saved(2).add("two").note_saved(4)) == {"web_a": [5]}
    assert live(Journalled().add("one").note_saved(), Journalled("web_b").add("x")) == {"web_a": [3], "web_b": [4]}


def test_times_are_in_utc() -> None:
    """They are compared with those of files."""
    (line,) = lines(1, Journalled().add("one", at=datetime(2026, 11, 23, 12, tzinfo=UTC)).take()).splitlines()
    assert json.loads(line)["la"] == "2026-11-23T12:00:00Z"
