"""Session files: bytes to types and back, and the header alone.

What miniclaw does not know is kept: unknown fields of a session, and messages that would not be written just as
they were read, go back as their source text. A time is re-written only where its value changed (an earlier
implementation wrote nine fractional digits; a datetime holds six).

A file that msgspec refuses is tried once more, more slowly, as other programs write sessions: see
`miniclaw.session.format.unusual_forms` for the forms, and `miniclaw.session.format.json_outline` for the JSON that is
admitted.

Decoding errors of every kind become `ValueError` with one sentence. msgspec raises `UnicodeDecodeError` and
`RecursionError` beside its own errors, and the second is no `ValueError`.
"""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from miniclaw.errors import InvalidMessageError
from miniclaw.session.format.footprint import SOURCE, message_bytes, session_bytes
from miniclaw.session.names import parts_of
from miniclaw.session.types import AwareDatetime, Message, Session, SessionHeader

MAX_SESSION_BYTES: Final = 256 * 1024 * 1024
"""Largest session file that is read or written, inclusive. Beyond it lies a sparse or hostile file."""

HEADER_PREFIX_BYTES: Final = 4096
"""How much of a file is read for its header; one page."""

PIECE_BYTES: Final = 256 * 1024
"""From how many bytes on a session is encoded in pieces, each of at least so many; nearly all are a single piece."""

# What is encoded in one step: between two of them the interpreter may switch threads, and the event loop stays quick.
_MESSAGES_PER_STEP = 64
_BYTES_PER_STEP = 256 * 1024  # of memory, at most, unless a single message takes more

_COMMA = ord(",")
# White space, or a byte order mark, may precede the object; the mark of UTF-32-LE begins with that of UTF-16-LE.
_BEGINNINGS = (b"{", b" ", b"\t", b"\r", b"\n", BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE, BOM_UTF32_BE)
_KNOWN_FIELDS = frozenset(Session.__struct_fields__)
_TIMES = ("created_at", "last_accessed")

_Members: TypeAlias = dict[str, tuple[bytes, bytes]]


class _Envelope(Struct):
    session_id: str
    channel: str
    chat_id: str
    created_at: AwareDatetime
    last_accessed: AwareDatetime
    messages: list[Raw] = msgspec.field(default_factory=list)
    pinned: bool = False


class _SessionSource(Struct):
    """What a session's file held besides the values of its fields. Made once, never changed."""

    extra: bytes  # the unknown members, with commas between them
    times: dict[str, tuple[datetime, Raw]]
    tells_pinned: bool  # also where it is false, which we leave out of our own files


_encode = msgspec.json.Encoder().encode
_encode_into = msgspec.json.Encoder().encode_into
_decode_header = msgspec.json.Decoder(SessionHeader).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_whole = msgspec.json.Decoder(Session).decode
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


def can_begin(prefix: bytes | bytearray) -> bool:
    """Return whether a file that begins with these bytes may hold an object: after white space or a byte order mark."""
    return prefix.startswith(_BEGINNINGS)


def decode_header(data: bytes) -> SessionHeader:
    """Decode the header from a whole file.

    The syntax of the whole document is checked, and of doubled keys the last counts, as in `decode_session`; text
    and types of what is skipped are not looked at.

    Raises:
        ValueError: It is not JSON, or a field is missing or cannot be understood.
    """
    with _decoding():
        try:
            return _decode_header(data)
        except (ValueError, RecursionError) as error:
            from miniclaw.session.format.unusual_forms import header_of  # noqa: PLC0415 - start-up time: few files need it

            return header_of(_values(_members(data, error)))


def check_whole(data: bytes) -> SessionHeader:
    """Decode a whole session, types and texts of all messages included, and return its header.

    What passes could be loaded; so a removal does not take a damaged session for an expired one.

    Raises:
        ValueError: It could not be loaded.
    """
    with _decoding():
        try:
            session = _decode_whole(data)
        except (ValueError, RecursionError):
            session = decode_session(data)
    return SessionHeader(session.session_id, session.channel, session.chat_id, session.last_accessed, session.pinned)


def decode_header_prefix(prefix: bytes | bytearray) -> SessionHeader | None:
    """Decode the header from the beginning of a file, or return None where that does not suffice.

    The token ``"messages"`` can stand in a JSON text only as a string of its own, because inside of another string
    its quotes would be escaped. So what stands before it, closed with a brace, is the header; where the token is
    nested or a value, that does not decode, and the whole file has to tell.

    A file that others wrote may say ``pinned`` only after its messages, or say a field twice: then this is not the
    header of the whole file. So what is removed is always judged by the whole file.
    """
    cut = prefix.find(b'"messages"')
    if cut < 0:
        return None
    try:
        return _decode_header(prefix[:cut].rstrip(b" \t\r\n,") + b"}")
    except (ValueError, RecursionError):
        return None


def decode_session(data: bytes) -> Session:
    """Decode a session file.

    Raises:
        ValueError: It is not JSON, or a field of the header is missing or cannot be understood; the text names it.
    """
    with _decoding():
        try:
            envelope, fields = _decode_envelope(data), _decode_fields(data)
        except (ValueError, RecursionError) as error:
            return _decode_unusual(_members(data, error))
        header = SessionHeader(
            envelope.session_id, envelope.channel, envelope.chat_id, envelope.last_accessed, envelope.pinned
        )
        extra = _encode({key: raw for key, raw in fields.items() if key not in _KNOWN_FIELDS})[1:-1]
        return _session(header, envelope.created_at, envelope.messages, fields, extra)


def _decode_unusual(members: _Members) -> Session:
    from miniclaw.session.format import unusual_forms  # noqa: PLC0415 - as above

    values = _values(members)
    header = unusual_forms.header_of(values)
    messages = [Raw(source) for source in unusual_forms.messages_of(values)]
    fields = {key: Raw(value) for key, value in values.items()}
    extra = b",".join(name + b":" + value for key, (name, value) in members.items() if key not in _KNOWN_FIELDS)
    return _session(header, unusual_forms.created_of(values, header.last_accessed), messages, fields, extra)


def _session(
    header: SessionHeader, created_at: datetime, messages: list[Raw], fields: dict[str, Raw], extra: bytes
) -> Session:
    """Return a session that remembers what its file held besides."""
    session = Session(
        header.session_id, header.channel, header.chat_id, created_at, header.last_accessed, pinned=header.pinned
    )
    time = created_at
    for raw in messages:
        message = _read_message(raw, time)
        time = message.timestamp
        session.messages.append(message)
    times = {key: (getattr(session, key), fields[key].copy()) for key in _TIMES if key in fields}
    vars(session)[SOURCE] = _SessionSource(extra, times, "pinned" in fields)
    return session


def _members(data: bytes, error: Exception) -> _Members:
    """Return the members of a file that msgspec refused.

    Raises:
        ValueError, RecursionError: The error of msgspec, where it is damaged.
    """
    from miniclaw.session.format import json_outline  # noqa: PLC0415 - as above

    try:
        return json_outline.members(json_outline.as_utf8(data))
    except ValueError:
        raise error from None


def _values(members: _Members) -> dict[str, bytes]:
    return {name: value for name, (_, value) in members.items()}


def _read_message(raw: Raw, otherwise: datetime) -> Message:
    """Return a message; `otherwise` is its time where it has none that is understood."""
    try:
        message = _decode_message(raw)
    except (ValueError, RecursionError):
        from miniclaw.session.format.unusual_forms import message_of  # noqa: PLC0415 - as above

        message = message_of(bytes(raw), otherwise)
        vars(message)[SOURCE] = raw.copy()
        return message
    text = _encode(message)
    if not text.isascii():
        message = _decode_message(raw)  # whose strings have not been encoded; see `_apart`
    view = memoryview(raw)
    # A copy is compared many times as quickly as a view, but is a copy: not of what is large.
    if text != (bytes(view) if len(view) < PIECE_BYTES else view):
        vars(message)[SOURCE] = raw.copy()
    return message


def check_message(message: Message) -> Message:
    """Return the message in UTC, as it can enter a session.

    Raises:
        InvalidMessageError: It could not be saved and loaded again.
    """
    if not isinstance(message, Message):
        raise InvalidMessageError(f"a Message is expected, not {type(message).__name__}")
    texts = (message.content, message.tool_call_id or "", message.inbound_id or "")
    if not all(isinstance(text, str) for text in texts):  # msgspec would make a text of bytes, or of a UUID
        raise InvalidMessageError("the content, the tool_call_id and the inbound_id of a message are texts")
    if message.role == "tool_result" and message.tool_call_id is None:
        raise InvalidMessageError("a tool_result names the tool_call_id that it answers")
    try:
        if message.timestamp.tzinfo is not None and message.timestamp.utcoffset():
            message = replace(message, timestamp=message.timestamp.astimezone(UTC))
        with _decoding():
            text = _encode(message)
            decoded = _decode_message(text)
        if not text.isascii() and getattr(message, SOURCE, None) is None:
            message = decoded  # whose strings have not been encoded; see `_apart`
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidMessageError(str(error)) from error
    return message


def snapshot_session(session: Session, session_id: str) -> Session:
    """Return a copy that later changes do not reach; messages are immutable and therefore shared.

    Args:
        session: The live one.
        session_id: By which it is known. Whatever somebody may have done to the object's own ids, it is saved under
            this one.
    """
    copy = Session(
        session_id,
        *parts_of(session_id),
        session.created_at,
        session.last_accessed,
        session.messages.copy(),
        session.pinned,
    )
    vars(copy).update(vars(session))
    return copy


def encode_session(session: Session) -> bytearray:
    """Encode a session as its file will hold it: header, messages, then fields that miniclaw does not know."""
    pieces = encode_in_pieces(session)
    out = next(pieces)
    for piece in pieces:
        out += piece
    return out


def is_plain_json(data: bytes | bytearray | Raw) -> bool:
    """Return whether every JSON decoder takes a document."""
    try:
        bytes(data).decode()
        _decode_any(data)
    except (ValueError, RecursionError):
        return False
    return True


def encode_plainly(session: Session) -> bytes | bytearray:
    """Encode a session for any JSON decoder: a message in a form that not every one takes is given as it is understood.

    Unknown fields are left out then.
    """
    data = encode_session(session)
    if is_plain_json(data):
        return data
    plain = Session(
        session.session_id, session.channel, session.chat_id, session.created_at, session.last_accessed,
        pinned=session.pinned,
    )  # fmt: skip
    for message in session.messages:
        source: Raw | None = getattr(message, SOURCE, None)
        plain.messages.append(message if source is None or is_plain_json(source) else replace(message))
    return encode_session(plain)


def encode_in_pieces(session: Session) -> Iterator[bytearray]:
    """Encode as `encode_session`, and yield it in pieces of little more than `PIECE_BYTES`, or than one message.

    So there is never a second copy of a large session as a whole. There is at least one piece, and none is empty.
    """
    source: _SessionSource | None = vars(session).get(SOURCE)
    out = bytearray(_encode(_header(session, source)))
    out[-1:] = b',"messages":[]'
    is_first = True
    for step in _steps(session):
        # An array of its own, over the bracket that ends the one before: its own opening bracket becomes a comma.
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
    out += b"}"
    yield out


def _header(session: Session, source: _SessionSource | None) -> dict[str, str | datetime | bool | Raw]:
    header: dict[str, str | datetime | bool | Raw] = {
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
        header["pinned"] = bool(session.pinned)  # anything else would be a file that cannot be loaded
    return header


def _steps(session: Session) -> Iterator[list[Message | Raw]]:
    """Yield messages in lists that are not empty, each as it is to be encoded, for no more memory than a step takes."""
    is_large = session_bytes(session) > PIECE_BYTES
    for start in range(0, len(session.messages), _MESSAGES_PER_STEP):
        part = session.messages[start : start + _MESSAGES_PER_STEP]
        for step in _small_enough(part) if is_large else (part,):
            # Not by vars(), which would give every message a dict, for good.
            yield [
                getattr(message, SOURCE, None)
                or (message if message.content.isascii() and message.tool_calls is None else _apart(message))
                for message in step
            ]


def _small_enough(messages: list[Message]) -> Iterator[list[Message]]:
    if len(messages) > 1 and sum(map(message_bytes, messages)) > _BYTES_PER_STEP:
        middle = len(messages) // 2
        yield from _small_enough(messages[:middle])
        yield from _small_enough(messages[middle:])
    else:
        yield messages


def _apart(message: Message) -> Message:
    """Return an equal message that may be encoded and dropped.

    A string that is not ASCII keeps its UTF-8 with it once it was encoded, for as long as it lives: the next to a live
    session's own would be a second copy of it. So what is encoded is another string.
    """
    if not message.content.isascii():
        message = replace(message, content=_copied(message.content))
    if message.tool_calls is not None and not all(call.arguments.isascii() for call in message.tool_calls):
        calls = [replace(call, arguments=_copied(call.arguments)) for call in message.tool_calls]
        message = replace(message, tool_calls=tuple(calls))
    return message


def _copied(text: str) -> str:
    return text[:1] + text[1:]
