"""File names of sessions: an injective function of the session id, safe on any file system.

Rules:

* A session id is ``{channel}_{chat_id}``. A channel never holds ``_``, so the first one is the separator, and
  ``a_b``+``c`` cannot be mistaken for ``a``+``b_c``.
* A chat id of lower-case letters, digits and ``.@+-_`` is copied into the name. Other characters are percent-encoded
  (RFC 3986, upper-case hex, over UTF-8).
* If that text alone would not distinguish two ids, ``~`` and a digest of the chat id follow it: for ids with capitals,
  which a file system that ignores case would confuse, and for names past `MAX_NAME_BYTES`, which are cut.

A name is only ever computed from an id, never taken from the content of a file, and never decoded.

A name in quarantine or in the trash ends with a stamp, ``{stem}.{YYYYmmddTHHMMSSZ}-{8 hex}``: the time at which the
file was moved there. The file's own times do not record that: a rename keeps them, and a copy makes new ones.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from miniclaw.errors import InvalidSessionIdError

MAX_NAME_BYTES = 200
"""Longest file name given to a session, inclusive; file systems allow 255."""

MAX_ASKED_CHARS: Final = 1_000
"""Longest session id, inclusive, that a user may begin a chat with or name in an order to a gateway: percent-encoded it
fits a request. The ids of an embedder may be longer."""

SUFFIX = ".json"

_DIGEST_CHARS = 32  # 128 bits: chat ids come from strangers, who may look for collisions
_CHANNEL = re.compile(r"[a-z0-9-]{1,32}")
_PLAIN_ID = re.compile(r"[a-z0-9-]{1,32}_[a-z0-9.@+_-]+")  # ids that file_name() leaves unchanged, unless too long
_OWN_FORM = r"[a-z0-9-]{1,32}_(?:(?:[a-z0-9.@+_-]|%[0-9A-F]{2})+|(?:[A-Za-z0-9.@+_-]|%[0-9A-F]{2})*~[0-9a-f]{32})\.json"
_NO_BARE_NAME = re.compile(r"[/\0%~]")
_CAPITAL = re.compile(r"[A-Z]")
_DIGEST = re.compile(rf"~[0-9a-f]{{{_DIGEST_CHARS}}}$")
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?$")
_FOREIGN_MAX_BYTES = 255


STAMP_CHARS: Final = 26
"""Characters of a stamp, with the full stop before it."""

_STAMPED: Final = r"(?P<stem>.+)\.(?P<time>[0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}"  # compiled on first use

_FORMAT: Final = "%Y%m%dT%H%M%SZ"


def is_channel(text: str) -> bool:
    """Return whether a text can name a channel: ``[a-z0-9-]{1,32}``."""
    return isinstance(text, str) and _CHANNEL.fullmatch(text) is not None


_is_channel_cached = lru_cache(maxsize=64)(is_channel)  # few channels, each in very many files


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
    """Return the channel and the chat id of a session id, after a check of its form.

    Raises:
        InvalidSessionIdError: It is not ``{channel}_{chat_id}``.
    """
    channel, underscore, chat_id = session_id.partition("_") if isinstance(session_id, str) else ("", "", "")
    if not underscore:
        raise InvalidSessionIdError(session_id, "a session id is {channel}_{chat_id}")
    make_session_id(channel, chat_id)
    return channel, chat_id


def check_asked(session_id: str) -> None:
    """Check a session id that a user gives: its form, and its length.

    Raises:
        InvalidSessionIdError: It is not ``{channel}_{chat_id}``, or longer than `MAX_ASKED_CHARS`.
    """
    split_session_id(session_id)
    if len(session_id) > MAX_ASKED_CHARS:
        raise InvalidSessionIdError(session_id, f"a session id has {MAX_ASKED_CHARS:,} characters at the most here")


def parts_of(session_id: str) -> tuple[str, str]:
    """Return the channel and the chat id of a valid session id, without a check."""
    channel, _, chat_id = session_id.partition("_")
    return channel, chat_id


def file_name(session_id: str) -> str:
    """Return the name of the session's file.

    No two session ids have the same name, even if case is ignored.

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


file_name_of_live: Final = lru_cache(maxsize=2048)(file_name)
"""Cached `file_name`, for live sessions, which are saved repeatedly. Not for scans, which would flood the cache."""


def file_names(session_id: str) -> tuple[str, ...]:
    """Return every name that the session's file may have, our own first.

    The second, if any, is the bare ``{session_id}.json`` of earlier implementations. It is left out for an id with a
    ``%`` or a ``~``, where it could be another session's own name. A bare name that is not ASCII is followed by its
    Unicode normal forms, to which macOS file systems and copy programs change it. Such a form may be another session's
    bare name; the id inside the file decides.

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
    """Return the Unicode normal forms of a name that differ from it; an ASCII name has none."""
    if name.isascii():
        return []
    from unicodedata import normalize  # noqa: PLC0415 - start-up time: few names need it

    return [other for form in ("NFC", "NFD") if (other := normalize(form, name)) != name]


def own_name_of_bare(name: str) -> str | None:
    """Return our own name for the session with this bare name; None: it is not the bare name of a session."""
    found = _file_names_or_none(name.removesuffix(SUFFIX))
    return found[0] if name in found[1:] else None


def ids_of(name: str) -> list[str]:
    """Return the ids of the sessions whose file may have this name, sorted; none for a name that was cut."""
    stem = name.removesuffix(SUFFIX)
    candidates = {stem, unquote(_DIGEST.sub("", stem)), *normal_forms(stem)}
    return sorted(each for each in candidates if name in _file_names_or_none(each))


def _file_names_or_none(session_id: str) -> tuple[str, ...]:
    try:
        return file_names(session_id)
    except InvalidSessionIdError:
        return ()


def is_session_file(name: str) -> bool:
    """Return whether a directory entry has the name of a session file: ending in `SUFFIX`, not hidden."""
    return name.endswith(SUFFIX) and not name.startswith(".")


def is_plain(name: str, session_id: str) -> bool:
    """Return whether a file's name is the unencoded id of the session, and thus identifies the session by itself."""
    return name == session_id + SUFFIX and len(name) <= MAX_NAME_BYTES and _PLAIN_ID.fullmatch(session_id) is not None


def is_of_our_form(name: str) -> bool:
    """Return whether `file_name` may have made this name, for any session."""
    return re.fullmatch(_OWN_FORM, name) is not None


def belongs(name: str, session_id: str, channel: str, chat_id: str) -> bool:
    """Return whether the ids inside a file agree with one another and with the file's name."""
    if session_id != f"{channel}_{chat_id}" or "_" in channel:
        return False
    # A shortcut for the usual file: the result as below in a third of the time. `file_names` explains the bare name.
    if (
        name == session_id + SUFFIX and name.isascii() and len(name) <= _FOREIGN_MAX_BYTES
        and "%" not in name and "~" not in name and "/" not in name and "\0" not in name
    ):  # fmt: skip
        return bool(chat_id) and _is_channel_cached(channel)
    return name in _file_names_or_none(session_id)


def agree(session_id: str, channel: str, chat_id: str) -> bool:
    """Return whether the ids inside a file agree with one another and are valid, regardless of the file's name."""
    try:
        return belongs(file_name(session_id), session_id, channel, chat_id)
    except InvalidSessionIdError:
        return False


def mismatch(inside: str) -> str:
    """Return the problem of a file whose content names this session, while its name belongs to another."""
    shown = inside if len(inside) <= 80 else inside[:80] + "…"
    return f"its content names the session {shown!r}, which belongs under another file name"


def stamped(stem: str, now: datetime) -> str:
    """Return a unique name that ends with a stamp of `now`, an aware time."""
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
