"""The records of the journal: JSON lines with a checksum, in segments of the folder ``.journal``.

A line is the JSON object of a `Record`; its first member is the CRC-32 of all that follows it. A JSON text holds no raw
line feed, so a damaged line costs itself only. A segment is filled with line feeds before it is used, which every
reader skips: a commit then changes no metadata of the file.

A batch is written only after the one before is synced. So only the last batch of a segment may be torn, and such a
batch was never acknowledged.

Every version writes the record ``open`` in this form, so that an earlier one refuses the segment and deletes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from miniclaw.errors import InvalidSessionIdError
from miniclaw.session.format import codec
from miniclaw.session.format.footprint import SOURCE
from miniclaw.session.names import split_session_id
from miniclaw.session.types import AwareDatetime, Message, Session

FORMAT: Final = 1
"""The version of the format; a segment of a newer one is not read."""

JOURNAL_NAME: Final = ".journal"
SEGMENT_SUFFIX: Final = ".jsonl"

_PREFIX: Final = b'{"crc":"'
_CHECKED_FROM: Final = 18  # the first byte behind `{"crc":"01234567",`

Operation: TypeAlias = Literal["open", "add", "use", "saved", "void"]
"""What a record says.

``open``: the segment begins, with its first batch. ``add``: a message was added. ``use``: the session was used, or its
pin changed; with `upto`, messages were removed as well. ``saved``: a synced file holds all of the session up to the
record `upto`. ``void``: the session has no file any more, or another one; its records up to the record `upto` count no
more.
"""


class Record(Struct, frozen=True, omit_defaults=True):
    """A record; most members belong to some operations only.

    Attributes:
        i: Its number. Numbers rise by 1 within a segment, and no number is used twice.
        b: The number of the first record of its batch.
        s: The session id.
        n: For ``add`` and ``use``: the number of messages that precede it.
        prev: For ``add``: the digest of the message before it; empty: it is the first one.
        m: For ``add``: the message, as a session file holds it.
        more: For ``add``: the number of messages that follow in the same batch; none of them counts without all.
        life: The session's `created_at`.
        la: The session's `last_accessed`.
        pinned: The session's pin; the last record tells it.
        upto: For ``saved``: the number of the last record that the file holds; for ``void``: of the last record that
            counts no more. 0: all before this one. For ``use``: the records up to this one count no more once the file
            is the one that `la`, `pinned`, `count` and `prev` describe; 0: it describes none.
        count: For ``use`` with `upto`: the number of messages in that file; `prev` is the digest of the last one.
        v: For ``open``: the version of the format.
    """

    i: int
    b: int
    op: Operation
    s: str = ""
    n: int = 0
    prev: str = ""
    m: Raw = Raw(b"")
    more: int = 0
    life: AwareDatetime | None = None
    la: AwareDatetime | None = None
    pinned: bool = False
    upto: int = 0
    count: int = 0
    v: int = 0

    @property
    def describes_file(self) -> bool:
        """True for a ``use`` that describes a file with fewer messages, which is to be written next."""
        return self.op == "use" and self.upto > 0


Body: TypeAlias = bytes
"""A record without its checksum and numbers: the rest of its line, from the member ``op`` on."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
_decode_message = msgspec.json.Decoder(Message).decode


def body(op: Operation, members: Mapping[str, object]) -> Body:
    """Return the body of a record."""
    return b'"op":"' + op.encode() + (b'",' + _encode(members)[1:] if members else b'"}')


def add_body(session_id: str, session: Session, n: int, before: str, more: int = 0) -> tuple[Body, str]:
    """Return the body of an ``add`` of a session's message number `n`, from 0, and the digest of that message.

    Args:
        session_id: Its id, also if a caller has changed that of the object.
        session: The session.
        n: The number of messages before it.
        before: The digest of the message before it; empty: it is the first one.
        more: The number of messages that follow in the same batch.

    Raises:
        ValueError: The record could not be read again; TypeError, AttributeError: a caller has broken the session.
    """
    message = session.messages[n]
    if getattr(message, SOURCE, None) is not None:
        raise ValueError("its source has more than its fields")
    text = codec.encode_message(message)
    members = {**_state_of(session_id, session, n), "prev": before, "m": Raw(text)}
    if more:
        members["more"] = more
    return _checked(body("add", members)), f"{crc32(text):08x}"


def use_body(session_id: str, session: Session, n: int) -> Body:
    """Return the body of a ``use`` of a session, behind its first `n` messages; errors as for `add_body`."""
    return _checked(body("use", _state_of(session_id, session, n)))


def cut_body(session_id: str, session: Session, upto: int) -> Body:
    """Return the body of a ``use`` that describes the session's next file; errors as for `add_body`.

    The journal has appends only. If messages were removed, or replaced by others, its records up to `upto` would add
    the removed ones again to that file, and so count no more once it is there.
    """
    last = digest(session.messages[-1]) if session.messages else ""
    state = _state_of(session_id, session, 0)
    return _checked(body("use", {**state, "prev": last, "count": len(session.messages), "upto": upto}))


def _state_of(session_id: str, session: Session, n: int) -> dict[str, object]:
    state: dict[str, object] = {"s": session_id, "n": n, "life": session.created_at, "la": session.last_accessed}
    return {**state, "pinned": True} if session.pinned else state


def _checked(made: Body) -> Body:
    _decode(b'{"i":0,"b":0,' + made)
    return made


def digest(message: Message) -> str:
    """Return the checksum of a message, by its fields; unknown fields and the form of its source do not count.

    It is the same before and after the message was saved and loaded, also for a time that a reader replaces.
    """
    source: Raw | None = getattr(message, SOURCE, None)
    if source is not None:
        with suppress(ValueError, RecursionError):
            message = _decode_message(source)
    try:
        text = codec.encode_message(message)
    except ValueError:  # it was read from a file, and has a source
        text = bytes(source or b"")
    return f"{crc32(text):08x}"


def lines(first: int, bodies: Sequence[Body]) -> bytes:
    """Return the lines of one batch, whose first record has this number."""
    return b"".join([_line(b'"i":%d,"b":%d,%b' % (first + k, first, each)) for k, each in enumerate(bodies)])


def _line(rest: bytes) -> bytes:
    return b'{"crc":"%08x",%b\n' % (crc32(rest), rest)


def read_line(line: bytes) -> Record | None:
    """Return the record of a line; None if the line is damaged."""
    if line[:8] != _PREFIX or b"%08x" % crc32(memoryview(line)[_CHECKED_FROM:]) != line[8:16]:
        return None
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        return None


def read_segment(data: bytes) -> tuple[list[Record], bool]:
    """Return the records of a segment that count, and whether records are missing that may have been acknowledged.

    A hole in the last batch is a torn commit: what follows it does not count, and none of that batch was acknowledged.
    Messages that belong together count only if the last of them is there.
    A hole before the last batch is damage.
    """
    lines_of_it = data.rstrip(b"\n").split(b"\n")
    found = [record for line in lines_of_it if line and (record := read_line(line)) is not None and _is_usable(record)]
    last_batch = max((record.b for record in found), default=0)
    kept: list[Record] = []
    # The first batch has the `open`. A later one was written after that one was synced.
    is_damaged = bool(found) and found[0].op != "open" and found[0].i == found[0].b
    expected = found[0].b if found else 0
    for record in found:
        if record.i != expected:
            if expected >= last_batch:
                break
            is_damaged = True
        kept.append(record)
        expected = record.i + 1
    while kept and kept[-1].more:
        kept.pop()
    return kept, is_damaged


def _is_usable(record: Record) -> bool:
    return record.op == "open" or _is_session_id(record.s)


@lru_cache(maxsize=1024)
def _is_session_id(text: str) -> bool:
    try:
        split_session_id(text)
    except InvalidSessionIdError:
        return False
    return True


def mentions(data: bytes, session_id: str) -> tuple[bool, bool]:
    """Return whether a segment, damaged or not, has a record of a session, and whether all its lines are sound."""
    is_sound = all(read_line(line) is not None for line in data.split(b"\n") if line)
    return b'"s":' + _encode(session_id) in data, is_sound


def live_records(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records that still count, by session id: those behind its last ``void``.

    Of records that a synced file holds, only the ``saved`` remains: it tells that there was a file.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.op == "void":
            last = record.upto or record.i
            found[record.s] = [each for each in found.get(record.s, ()) if each.i > last]
        elif record.op == "saved":
            upto = record.upto or record.i
            rest = [each for each in found.get(record.s, ()) if each.i > upto and each.op != "saved"]
            found[record.s] = [record, *rest]
        elif record.op != "open":
            found.setdefault(record.s, []).append(record)
    return {session_id: its_records for session_id, its_records in found.items() if its_records}


def has_news(records: Sequence[Record]) -> bool:
    """Return whether some of a session's live records are in no file; else the session is as its file has it."""
    return any(record.op != "saved" for record in records)
