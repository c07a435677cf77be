"""Session files: conversion between bytes and types, of a whole session or of its header alone.

Data that miniclaw does not know is kept: unknown fields of a session, and messages that would not be written exactly
as they were read, are saved as their source text. A time is rewritten only if its value changed (an earlier
implementation wrote nine fractional digits; a datetime holds six).

A file that msgspec refuses is decoded once more, more slowly, as other programs write sessions:
`miniclaw.session.format.unusual_forms` has the forms, and `miniclaw.session.format.json_outline` the JSON that is
admitted.

Decoding errors of every kind become `ValueError` with one sentence. msgspec raises `UnicodeDecodeError` and
`RecursionError` beside its own errors, and the second is no `ValueError`.
"""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from miniclaw.errors import InvalidMessageError
from miniclaw.session.format import metadata
from miniclaw.session.format.footprint import SOURCE, SessionSource
from miniclaw.session.names import parts_of
from miniclaw.session.types import JSON, NO_TIME, AwareDatetime, Message, Session, SessionHeader

if TYPE_CHECKING:  # start-up time: few files need it
    from miniclaw.session.format.json_outline import Outline

MAX_SESSION_BYTES: Final = 256 * 1024 * 1024
"""Largest session file that is read or written, in bytes, inclusive. A larger file is sparse or hostile."""

PIECE_BYTES: Final = 256 * 1024
"""Bytes from which on a session is encoded in pieces, all but the last of at least that size; most are one piece."""

HEADER_PREFIX_BYTES: Final = 4096
"""Number of bytes that are read of a file for its header; one page."""

_COMMA = ord(",")
# White space, or a byte order mark, may precede the object; the mark of UTF-32-LE begins with that of UTF-16-LE.
_BEGINNINGS = (b"{", b" ", b"\t", b"\r", b"\n", BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE, BOM_UTF32_BE)
_LAST: Final = datetime.max.replace(tzinfo=UTC)  # a time after it, in a zone of the west, cannot be written in UTC
_KNOWN_FIELDS = frozenset(Session.__struct_fields__)
_TIMES = ("created_at", "last_accessed")

_T = TypeVar("_T")


class _Envelope(Struct):
    session_id: str
    channel: str
    chat_id: str
    created_at: AwareDatetime
    last_accessed: AwareDatetime
    messages: list[Raw] = msgspec.field(default_factory=list)
    pinned: bool = False


_encode = msgspec.json.Encoder().encode
_encode_into = msgspec.json.Encoder().encode_into
_decode_header = msgspec.json.Decoder(SessionHeader).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_any = msgspec.json.Decoder(Raw).decode
_decode_message = msgspec.json.Decoder(Message).decode


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason}") from error


def _decoded(data: bytes, usual: Callable[[bytes], _T], unusual: Callable[[Outline], _T]) -> _T:
    """Decode a file by msgspec; if it refuses, without byte order mark and padding; if that fails, in parts.

    The error about a damaged file is that of msgspec.
    """
    with _decoding():
        try:
            return usual(data)
        except (ValueError, RecursionError) as error:
            from miniclaw.session.format import json_outline  # noqa: PLC0415 - start-up time: few files need it

            try:
                document = json_outline.as_utf8(data)
                if document != data:
                    with suppress(ValueError, RecursionError):
                        return usual(document)
                parts = json_outline.outline(document, "messages")
            except ValueError:
                raise error from None
            return unusual(parts)


def can_begin(prefix: bytes | bytearray) -> bool:
    """Return whether a file that begins with these bytes may hold an object, maybe after space or a byte order mark."""
    return prefix.startswith(_BEGINNINGS)


def decode_header(data: bytes, modified: datetime | None = None) -> SessionHeader:
    """Decode the header from a whole file.

    A file from which this returns a header can be loaded, and the loaded session has the same header: any syntactically
    valid value can stand among the messages, since `decode_session` makes a note of a message that it does not
    understand. A removal decides by this, and thus takes no damaged session for an expired one. The messages are
    parsed, but no object is made of them.

    Args:
        data: The file.
        modified: Time of the last write to it, aware, which may have to count as the last use; None: not known.

    Raises:
        ValueError: The file is not JSON, a field is missing or not understood, or no time is known.
    """
    return _decoded(data, _decode_usual_header, lambda parts: _header_of(parts, modified))


def decode_header_prefix(prefix: bytes | bytearray) -> SessionHeader | None:
    """Decode the header from the beginning of a file; return None if the beginning does not suffice.

    The token ``"messages"`` can occur in a JSON text only as a string of its own, because inside another string its
    quotes would be escaped. The text before it, closed with a brace, is therefore the header. If the token is nested
    or a value, that text does not decode, and the whole file has to be read.

    A file of another program may have ``pinned`` after its messages, or a field twice; its whole header then differs
    from this one. For that reason every removal is decided by the whole file.
    """
    cut = prefix.find(b'"messages"')
    if cut < 0:
        return None
    try:
        return _usual(_decode_header(prefix[:cut].rstrip(b" \t\r\n,") + b"}"))
    except (ValueError, RecursionError):
        return None


def decode_session(data: bytes, modified: datetime | None = None) -> Session:
    """Decode a session file.

    Args:
        data: The file.
        modified: As for `decode_header`.

    Raises:
        ValueError: The file is not JSON, a field of the header is missing or not understood, or no time is known; the
            text names the field.
    """
    return _decoded(data, _decode_usual, lambda parts: _decode_unusual(parts, modified))


def _decode_usual_header(data: bytes | bytearray) -> SessionHeader:
    return _usual(_decode_header(data))


def _usual(header: SessionHeader) -> SessionHeader:
    """Return a header on which the unusual forms agree; leave its file to them if its time is none."""
    if not NO_TIME < header.last_accessed <= _LAST:
        raise ValueError("the time of the last use is none")
    return header


def _check_time(time: datetime) -> None:
    """Leave a file, or a message, to the unusual forms if its time is none."""
    if time <= NO_TIME:
        raise ValueError("a time is none")


def _decode_usual(data: bytes) -> Session:
    if data.count(b'"messages"') > 1:
        raise ValueError("it may have messages twice")  # msgspec drops those that come first
    envelope, fields = _decode_envelope(data), _decode_fields(data)
    _check_time(envelope.created_at)
    header = _usual(
        SessionHeader(envelope.session_id, envelope.channel, envelope.chat_id, envelope.last_accessed, envelope.pinned)
    )
    extra = _encode({key: raw for key, raw in fields.items() if key not in _KNOWN_FIELDS})[1:-1]
    return _session(header, envelope.created_at, envelope.messages, fields, extra)


def _header_of(parts: Outline, modified: datetime | None) -> SessionHeader:
    from miniclaw.session.format import unusual_forms  # noqa: PLC0415 - as above

    return unusual_forms.header_of(parts.values(), modified)


def _decode_unusual(parts: Outline, modified: datetime | None) -> Session:
    from miniclaw.session.format import unusual_forms  # noqa: PLC0415 - as above

    values = parts.values()
    header = unusual_forms.header_of(values, modified)
    created_at = unusual_forms.field_time(values, "created_at") or header.last_accessed
    messages = [Raw(source) for source in parts.elements]
    fields = {key: Raw(value) for key, value in values.items()}
    if unusual_forms.field_time(values, "last_accessed") is None:
        fields.pop("last_accessed", None)  # the next save writes the time that counts: it sets that of the file anew
    extra = b",".join(name + b":" + value for key, (name, value) in parts.members.items() if key not in _KNOWN_FIELDS)
    return _session(header, created_at, messages, fields, extra)


def _session(
    header: SessionHeader, created_at: datetime, messages: list[Raw], fields: dict[str, Raw], extra: bytes
) -> Session:
    """Return a session with its `SessionSource` attached."""
    session = Session(
        header.session_id, header.channel, header.chat_id, created_at, header.last_accessed, pinned=header.pinned
    )
    time = created_at
    for raw in messages:
        message = read_message(raw, time)
        time = message.timestamp
        session.messages.append(message)
    times = {key: (getattr(session, key), fields[key].copy()) for key in _TIMES if key in fields}
    odd_metadata = b""
    if (raw_metadata := fields.get("metadata")) is not None:
        session.metadata = metadata.read(raw_metadata)
        odd_metadata = b"" if session.metadata else metadata.METADATA_KEY + bytes(raw_metadata)
    vars(session)[SOURCE] = SessionSource(extra, times, "pinned" in fields, odd_metadata)
    return session


def read_message(raw: Raw, otherwise: datetime) -> Message:
    """Decode a message; `otherwise` is its time if it has none that is understood."""
    try:
        message = _decode_message(raw)
        _check_time(message.timestamp)
    except (ValueError, RecursionError):
        from miniclaw.session.format.unusual_forms import message_of  # noqa: PLC0415 - as above

        message = message_of(bytes(raw), otherwise)
        vars(message)[SOURCE] = raw.copy()
        return message
    text = _encode(message)
    if not text.isascii():
        message = _decode_message(raw)  # its strings were never encoded; see `apart`
    view = memoryview(raw)
    # Comparing a copy is many times as fast as comparing a view; a large text is not copied.
    if text != (bytes(view) if len(view) < PIECE_BYTES else view):
        vars(message)[SOURCE] = raw.copy()
    return message


def encode_message(message: Message) -> bytes:
    """Encode the fields of a message, on one line; unknown fields and the form of its source are left out.

    Raises:
        ValueError: It has a text that is no Unicode, and only its source can be written.
    """
    from miniclaw.session.format.encoding_steps import apart  # noqa: PLC0415 - start-up time: a reader encodes nothing

    plain = message.tool_calls is None and message.content.isascii()
    return _encode(message if plain else apart(message))


def check_message(message: Message) -> Message:
    """Return the message in UTC, ready to be added to a session; raises as `measure_message`."""
    return measure_message(message)[0]


def measure_message(message: Message) -> tuple[Message, int]:
    """Return the message in UTC, ready to be added to a session, and by how many bytes the session's file grows.

    Raises:
        InvalidMessageError: The message could not be saved and loaded again.
    """
    if not isinstance(message, Message):
        raise InvalidMessageError(f"a Message is expected, not {type(message).__name__}")
    texts = [message.content, *(each for each in (message.tool_call_id, message.inbound_id) if each is not None)]
    if not all(isinstance(text, str) for text in texts):  # msgspec would convert bytes, a UUID or a duration to a text
        raise InvalidMessageError("the content, the tool_call_id and the inbound_id of a message are texts")
    if message.role == "tool_result" and message.tool_call_id is None:
        raise InvalidMessageError("a tool_result names the tool_call_id that it answers")
    calls = message.tool_calls
    try:
        if message.timestamp.tzinfo is not None and message.timestamp.utcoffset():
            message = replace(message, timestamp=message.timestamp.astimezone(UTC))
        with _decoding():
            text = _encode(message)
            decoded = _decode_message(text)
        source: Raw | None = getattr(message, SOURCE, None)
        if not text.isascii() and source is None:
            message = decoded  # its strings were never encoded; see `apart`
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidMessageError(str(error)) from error
    if calls and decoded.tool_calls != tuple(calls):
        raise InvalidMessageError("tool_calls has ToolCalls, of three texts each")
    return message, len(text if source is None else memoryview(source)) + 1  # and a comma


def encoded_size(message: Message) -> int:
    """Return by how many bytes a session's file shrinks without this message of it."""
    source: Raw | None = getattr(message, SOURCE, None)
    return len(encode_message(message) if source is None else memoryview(source)) + 1


def snapshot_session(session: Session, session_id: str) -> Session:
    """Return a copy that later changes do not reach; messages and metadata are never changed, and therefore shared.

    Args:
        session: The live one.
        session_id: The id under which the copy is saved, even if a caller has changed the ids in the object.
    """
    copy = Session(
        session_id,
        *parts_of(session_id),
        session.created_at,
        session.last_accessed,
        session.messages.copy(),
        session.pinned,
        session.metadata,
    )
    vars(copy).update(vars(session))
    return copy


def encode_session(session: Session) -> bytearray:
    """Encode a session as the content of its file: header, messages, then the fields that miniclaw does not know."""
    pieces = encode_in_pieces(session)
    out = next(pieces)
    for piece in pieces:
        out += piece
    return out


def is_plain_json(data: bytes | bytearray) -> bool:
    """Return whether every JSON decoder accepts a document."""
    try:
        bytes(data).decode()
        _decode_any(data)
    except (ValueError, RecursionError):
        return False
    return True


def plainly(data: bytes | bytearray) -> bytes:
    """Return a session's file for any JSON decoder: as it is, or with the parts that some refuse in another form."""
    from miniclaw.session.format.json_outline import plain  # noqa: PLC0415 - as above

    return bytes(data) if is_plain_json(data) else plain(bytes(data))


def encode_in_pieces(session: Session) -> Iterator[bytearray]:
    """Encode as `encode_session`, and yield it in pieces of little more than `PIECE_BYTES`, or than one message.

    A large session is thus never copied as a whole. There is at least one piece, and none is empty.
    """
    from miniclaw.session.format.encoding_steps import steps  # noqa: PLC0415 - start-up time: a reader encodes nothing

    source: SessionSource | None = vars(session).get(SOURCE)
    out = bytearray(_encode(_header(session, source)))
    out[-1:] = b',"messages":[]'
    is_first = True
    for step in steps(session):
        # Each step is an array over the closing bracket of the one before; its own opening bracket becomes a comma.
        start = len(out) - (2 if is_first else 1)
        _encode_into(step, out, start)
        if not is_first:
            out[start] = _COMMA
        is_first = False
        if len(out) >= PIECE_BYTES:
            del out[-1:]
            yield out
            out = bytearray(b"]")
    if source is not None and source.extra:
        out += b"," + source.extra
    if source is not None and source.odd_metadata and not session.metadata:
        out += b"," + source.odd_metadata
    out += b"}"
    yield out


def _header(session: Session, source: SessionSource | None) -> dict[str, JSON]:
    header: dict[str, JSON] = {
        "session_id": session.session_id,
        "channel": session.channel,
        "chat_id": session.chat_id,
        "created_at": session.created_at,
        "last_accessed": session.last_accessed,
    }
    if source is not None:
        for key, (value, text) in source.times.items():
            if header[key] == value:
                header[key] = text
    if session.pinned or (source is not None and source.tells_pinned):
        header["pinned"] = bool(session.pinned)  # a value of another type would make the file unloadable
    if session.metadata:
        header["metadata"] = session.metadata
    return header
