"""Session id to file name: injective, and safe on any file system.

Rules:

* A session id is ``{channel}_{chat_id}``. A channel never holds ``_``, so the first one divides, and
  ``a_b``+``c`` cannot be mistaken for ``a``+``b_c``.
* A chat id of lower-case letters, digits and ``.@+-_`` stands in the name as it is. Other characters are
  percent-encoded (RFC 3986, upper-case hex, over UTF-8).
* Where that text alone would not tell two ids apart, ``~`` and a digest of the chat id follow it: for ids with
  capitals, which a file system that ignores case would mix up, and for names past `MAX_NAME_BYTES`, which are cut.

A name is only ever computed from an id, never taken from the content of a file, and never decoded.

A name in quarantine or in the trash ends with a stamp, ``{stem}.{YYYYmmddTHHMMSSZ}-{8 hex}``: the time at which the
file came there. The file's own times do not tell it: a rename keeps them, and a copy makes new ones.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from miniclaw.errors import InvalidSessionIdError

MAX_NAME_BYTES = 200
"""Longest file name that is made, inclusive; file systems allow 255."""

SUFFIX = ".json"

_DIGEST_CHARS = 32  # 128 bits: chat ids come from strangers, who may look for collisions
_CHANNEL = re.compile(r"[a-z0-9-]{1,32}")
_PLAIN_ID = re.compile(r"[a-z0-9-]{1,32}_[a-z0-9.@+_-]+")  # what file_name() leaves as it is, if it is not too long
_OWN_FORM = r"[a-z0-9-]{1,32}_(?:(?:[a-z0-9.@+_-]|%[0-9A-F]{2})+|(?:[A-Za-z0-9.@+_-]|%[0-9A-F]{2})*~[0-9a-f]{32})\.json"
_NO_BARE_NAME = re.compile(r"[/\0%~]")
_CAPITAL = re.compile(r"[A-Z]")
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?$")
_FOREIGN_MAX_BYTES = 255


def is_channel(text: str) -> bool:
    """Return whether a text can name a channel: ``[a-z0-9-]{1,32}``."""
    return isinstance(text, str) and _CHANNEL.fullmatch(text) is not None


_is_channel_cached = lru_cache(maxsize=64)(is_channel)  # there are few of them, and each stands in very many files


def make_session_id(channel: str, chat_id: str) -> str:
    """Return the session id of a chat.

    Args:
        channel: ``[a-z0-9-]{1,32}``.
        chat_id: Any non-empty text that is valid Unicode.

    Raises:
        InvalidSessionIdError: A part is not of that form.
    """
    if not is_channel(channel):
        raise InvalidSessionIdError(channel, "a channel is 1 to 32 of a-z, 0-9 and -")
    if not isinstance(chat_id, str) or not chat_id:
        raise InvalidSessionIdError(chat_id, "a chat id is a text that is not empty")
    try:
        chat_id.encode()
    except UnicodeEncodeError as error:
        raise InvalidSessionIdError(chat_id, f"a chat id is valid Unicode ({error.reason})") from error
    return f"{channel}_{chat_id}"


def split_session_id(session_id: str) -> tuple[str, str]:
    """Return the channel and the chat id.

    Raises:
        InvalidSessionIdError: It is not ``{channel}_{chat_id}``.
    """
    channel, underscore, chat_id = session_id.partition("_") if isinstance(session_id, str) else ("", "", "")
    if not underscore:
        raise InvalidSessionIdError(session_id, "a session id is {channel}_{chat_id}")
    make_session_id(channel, chat_id)
    return channel, chat_id


def parts_of(session_id: str) -> tuple[str, str]:
    """Return the channel and the chat id of what is known to be a session id."""
    channel, _, chat_id = session_id.partition("_")
    return channel, chat_id


def file_name(session_id: str) -> str:
    """Return the name of the session's file.

    No two session ids have the same name, also when case is ignored.

    Raises:
        InvalidSessionIdError: It is not ``{channel}_{chat_id}``.
    """
    channel, chat_id = split_session_id(session_id)
    # quote() leaves "~" alone (RFC 3986 calls it unreserved), but here it announces the digest.
    text = f"{channel}_{quote(chat_id, safe='@+').replace('~', '%7E')}"
    if not _CAPITAL.search(chat_id) and len(text) + len(SUFFIX) <= MAX_NAME_BYTES:
        return text + SUFFIX
    import hashlib  # noqa: PLC0415 - start-up time: few ids need it

    digest = hashlib.sha256(chat_id.encode()).hexdigest()[:_DIGEST_CHARS]
    head = text[: MAX_NAME_BYTES - len(SUFFIX) - 1 - _DIGEST_CHARS]
    if len(head) < len(text):
        head = _CUT_ESCAPE.sub("", head)
    return f"{head}~{digest}{SUFFIX}"


file_name_of_live = lru_cache(maxsize=2048)(file_name)
"""`file_name`, remembered: live sessions are saved again and again. Not for scans, which would fill it in vain."""


def file_names(session_id: str) -> tuple[str, ...]:
    """Return every name under which the session may lie, our own first.

    The second, where there is one, is the bare ``{session_id}.json`` of earlier implementations. There is none where
    that could be another session's own name, which is where the id has a ``%`` or a ``~``. Of a bare name that is not
    ASCII, the Unicode normal forms follow, into which file systems of macOS and programs that copy change it; one of
    them may be another session's bare name, so what counts is the id inside the file.

    Raises:
        InvalidSessionIdError: It is not ``{channel}_{chat_id}``.
    """
    ours = file_name(session_id)
    bare = session_id + SUFFIX
    if bare == ours or _NO_BARE_NAME.search(bare):
        return (ours,)
    found = [ours, bare]
    found += normal_forms(bare)
    return tuple(name for name in found if len(name.encode()) <= _FOREIGN_MAX_BYTES)


def normal_forms(name: str) -> list[str]:
    """Return the Unicode normal forms of a name that differ from it; there are none of ASCII."""
    if name.isascii():
        return []
    from unicodedata import normalize  # noqa: PLC0415 - start-up time: few names need it

    return [other for form in ("NFC", "NFD") if (other := normalize(form, name)) != name]


def own_name_of_bare(name: str) -> str | None:
    """Return our own name for the session whose bare name this is; None: it is the bare name of none."""
    try:
        ours, *bare = file_names(name.removesuffix(SUFFIX))
    except InvalidSessionIdError:
        return None
    return ours if name in bare else None


def is_session_file(name: str) -> bool:
    """Return whether a directory entry of this name claims to be a session."""
    return name.endswith(SUFFIX) and not name.startswith(".")


def is_plain(name: str, session_id: str) -> bool:
    """Return whether a file's name is the session's id as it is, so that it alone tells whose file it is."""
    return name == session_id + SUFFIX and len(name) <= MAX_NAME_BYTES and _PLAIN_ID.fullmatch(session_id) is not None


def is_of_our_form(name: str) -> bool:
    """Return whether `file_name` may have made this name, for whichever session."""
    return re.fullmatch(_OWN_FORM, name) is not None


def belongs(name: str, session_id: str, channel: str, chat_id: str) -> bool:
    """Return whether the ids inside a file agree with one another and with the file's name."""
    if session_id != f"{channel}_{chat_id}" or "_" in channel:
        return False
    # The usual file; what follows would say the same, and take three times as long. See `file_names` for the bare name.
    if (
        name == session_id + SUFFIX and name.isascii() and len(name) <= _FOREIGN_MAX_BYTES
        and "%" not in name and "~" not in name and "/" not in name and "\0" not in name
    ):  # fmt: skip
        return bool(chat_id) and _is_channel_cached(channel)
    try:
        return name in file_names(session_id)
    except InvalidSessionIdError:
        return False


def agree(session_id: str, channel: str, chat_id: str) -> bool:
    """Return whether the ids inside a file agree with one another, and name a session, whatever the file is called."""
    try:
        return belongs(file_name(session_id), session_id, channel, chat_id)
    except InvalidSessionIdError:
        return False


def mismatch(inside: str) -> str:
    """Return what is wrong with a file whose content names this session, where its name belongs to another."""
    shown = inside if len(inside) <= 80 else inside[:80] + "…"
    return f"its content names the session {shown!r}, which belongs under another file name"


STAMP_CHARS: Final = 26
"""Characters of a stamp, with the full stop before it."""

_STAMPED: Final = r"(?P<stem>.+)\.(?P<time>[0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}"  # compiled when there is one
_FORMAT: Final = "%Y%m%dT%H%M%SZ"


def stamped(stem: str, now: datetime) -> str:
    """Return a name that tells `now`, an aware time, and that nobody else has."""
    utc = now.astimezone(UTC)
    # strftime leaves out the zeros of a year before 1000 on some systems.
    return f"{stem}.{utc.year:04d}{utc:%m%dT%H%M%SZ}-{os.urandom(4).hex()}"


def split_stamped(name: str) -> tuple[str, datetime] | None:
    """Return the stem of a name and the time of its stamp; None for a name that has no such stamp."""
    match = re.fullmatch(_STAMPED, name, re.DOTALL)
    if match is None:
        return None
    try:
        return match["stem"], datetime.strptime(match["time"], _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
