"""Session files of other programs, for hypothesis: the document, and what has to become of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from miniclaw.session.types import Message
from tests.fakes.json_corpus import EITHER, VALID

TIME = "2026-02-14T15:45:00Z"

_TEXT = st.text(st.characters(codec=None), max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_USUAL = st.sampled_from(
    ["user", "assistant", "tool", "tool_result", "system", TIME, "2026-02-14T15:45:00", "hi", "", 7, None]
)
_CALLS = st.sampled_from([[{"id": "1", "name": "f", "arguments": "{}"}], [{"function": {"name": "f"}}], [], [None], {}])
_PARTS = st.sampled_from([[{"type": "text", "text": "look"}], [{"type": "image_url"}], ["a", None, 1]])
_NAMES = st.sampled_from(["role", "content", "timestamp", "tool_calls", "tool_call_id", "inbound_id", "x"])
_MESSAGE = st.dictionaries(_NAMES, _USUAL | _CALLS | _PARTS | _JSON, max_size=6) | _JSON
_RAW = st.sampled_from(
    [*VALID, *EITHER, b"NaN", b'"\n"', b"[" * 3000 + b"]" * 3000, b'{"role":"user","content":"\xff"}']
)

_LAST_ACCESSED = st.sampled_from(
    [f'"{TIME}"', '"2026-02-14 15:45"', '"20260214T154500Z"', "1771083900", '"2026-02-14T15:45:00.123456789+02:00"']
)
_CREATED_AT = st.sampled_from([f',"created_at":"{TIME}"', ',"created_at":null', ',"created_at":"long ago"', ""])
_CHAT_ID = st.sampled_from(['"1"', "1"])
_PINNED = st.sampled_from(["", ',"pinned":false', ',"pinned":true', ',"pinned":null', ',"pinned":[0]'])
_ENDS = st.sampled_from([b"", b"\n", b"\0" * 100, b" \r\n\0"])


class SessionShape(Struct, frozen=True):
    """A session file of another program, called web_1.

    Attributes:
        data: Its bytes.
        messages: The source texts of its messages, as UTF-8.
        is_sound: Whether it has to serve its person; else it may go to quarantine.
    """

    data: bytes
    messages: list[bytes]
    is_sound: bool


@st.composite
def session_shapes(draw: st.DrawFn, *, damaged: bool = True) -> SessionShape:
    """Draw a file.

    Args:
        damaged: Whether some are cut or overwritten.
    """
    sources = draw(st.lists(st.one_of(st.builds(_encoded, _MESSAGE, st.booleans()), _RAW), max_size=4))
    extra = draw(st.dictionaries(_TEXT.filter(lambda name: name not in _KNOWN), _JSON, max_size=3))
    header = (
        f'{{"session_id":"web_1","channel":"web","chat_id":{draw(_CHAT_ID)}{draw(_CREATED_AT)},'
        f'"last_accessed":{draw(_LAST_ACCESSED)}{draw(_PINNED)}'
    )
    unknown = b"".join(b"," + _encoded(name, True) + b":" + _encoded(value, True) for name, value in extra.items())
    messages = b',"messages":[' + b" , ".join(sources) + b"]"
    parts = draw(st.permutations([unknown, messages]))
    data = header.encode() + b"".join(parts) + b"}" + draw(_ENDS)
    data = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + data
    is_sound = True
    if damaged and draw(st.integers(0, 3)) == 0:
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 40, len(data))))
        data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
        is_sound = False
    return SessionShape(data, sources, is_sound)


_KNOWN = frozenset({"session_id", "channel", "chat_id", "created_at", "last_accessed", "messages", "pinned"})


def is_usual(source: bytes) -> bool:
    """Return whether a message is understood as it stands, so that its spaces may be written otherwise."""
    try:
        msgspec.json.decode(source, type=Message)
    except (ValueError, RecursionError):
        return False
    return True


def _encoded(value: Any, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
