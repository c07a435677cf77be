"""Decoding of server-sent events, from bytes to the data of events. Pure.

The rules are those of the HTML standard, section 9.2.6, for the one field that models use, ``data``. Two rules differ
from the standard: bytes that are not UTF-8 are an error, as half a character is a broken answer, and the size of an
event is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_EVENT_BYTES: Final = 1024 * 1024
"""Largest event accepted, field names included, inclusive."""

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class EventDecoder:
    """Splits a stream into its events.

    Raises:
        ValueError: Raised by the iterator of `feed`: an event is too large or is not UTF-8, as the text says.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # the unfinished line
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._skip_newline = False  # the bytes so far ended in CR, which may be half of CRLF
        self._began = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Return the data of the events that are complete now, in their order.

        Args:
            data: The next bytes, cut at any position.
        """
        if not data:
            return
        if self._skip_newline:
            data = data.removeprefix(b"\n")
            self._skip_newline = False
        self._skip_newline = data.endswith(b"\r")
        begin, *others = _LINE_END.split(data)
        self._rest += begin
        for following in others:
            line, self._rest = bytes(self._rest), bytearray()
            if (event := self._take_line(line)) is not None:
                yield event
            self._rest += following
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
        if self._data_bytes + len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES:,} bytes")


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("text that is not UTF-8") from None
