"""Server-sent events: bytes to the data of events. Pure.

After the HTML standard, section 9.2.6, for what models send: only `data` matters. Unlike there, bytes that are no
UTF-8 are an error, as half a character is a broken answer; and an event has a greatest size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_EVENT_BYTES: Final = 1024 * 1024
"""Largest event that is taken, its field names included, inclusive."""

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class EventDecoder:
    """Takes a stream apart.

    Raises:
        ValueError: From `feed` and from what it returns: the stream is not such a one; the text says what is wrong.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the line that has not ended yet
        self._part_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._skip_newline = False  # the bytes so far ended in CR, which may be half of CRLF
        self._began = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Return the data of the events that are complete now, in their order.

        Args:
            data: The next bytes; cut anywhere.
        """
        if not data:
            return
        if self._skip_newline:
            data = data.removeprefix(b"\n")
            self._skip_newline = False
        self._skip_newline = data.endswith(b"\r")
        *lines, rest = _LINE_END.split(data)
        for line in lines:
            self._parts.append(line)
            whole = b"".join(self._parts)
            self._parts, self._part_bytes = [], 0
            if (event := self._take_line(whole)) is not None:
                yield event
        if rest:
            self._parts.append(rest)
            self._part_bytes += len(rest)
            self._check_size()

    def _take_line(self, line: bytes) -> str | None:
        if not self._began:
            self._began = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            data, self._data, self._data_bytes = self._data, [], 0
            return _decode(b"\n".join(data)) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(line)
            self._check_size()
        return None

    def _check_size(self) -> None:
        if self._data_bytes + self._part_bytes > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES:,} bytes")


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("text that is not UTF-8") from None
