"""The console: a chat with the person at the terminal, or with whatever is piped in.

One line is one message, and its answer is printed, as it comes, before the next line is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, TextIO

import trio

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.errors import ChannelError
from miniclaw.formats import printable
from miniclaw.session.types import Message

CHANNEL: Final = "console"

MAX_LINE_BYTES: Final = 1024 * 1024
"""Longest line that is taken for a message, without its end."""

_READ_BYTES: Final = 65_536


class ConsoleChannel:
    """Reads messages line by line and prints the answers.

    Args:
        chat_id: Whose conversation it is.
        messages: The messages to send instead of reading any.
        input_fd: Where lines come from.
        output: Where answers go.
    """

    name = CHANNEL

    def __init__(
        self,
        chat_id: str,
        *,
        messages: Sequence[str] | None = None,
        input_fd: int = 0,
        output: TextIO | None = None,
    ) -> None:
        self._chat_id = chat_id
        self._messages = messages
        self._input_fd = input_fd
        self._output = output or sys.stdout
        self._interactive = messages is None and os.isatty(input_fd)
        self._answered = trio.Event()  # replaced for each message, on the trio thread
        self._answered.set()
        self._streamed = 0  # characters of the answer that are printed
        self.failures = 0

    async def run(
        self,
        inbound: InboundSender,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Channel.run`; ends at the end of the input."""
        task_status.started()
        self._prompt()
        async with aclosing(self._contents()) as contents:
            async for content in contents:
                if content.strip():
                    self._answered = trio.Event()
                    await inbound.send(InboundMessage(self.name, self._chat_id, content))
                    await self._answered.wait()
                self._prompt()
        if self._interactive:
            self._print("\n")

    @property
    def is_answered(self) -> bool:
        """Whether the last message that was said has its answer; also where none was said."""
        return self._answered.is_set()

    async def send_delta(self, delta: OutboundDelta) -> None:
        """Print the next piece of an answer."""
        await trio.lowlevel.checkpoint()
        self._print(delta.text)
        self._streamed += len(delta.text)

    async def send(self, message: OutboundMessage) -> None:
        """Print the answer, or what is left of it."""
        await trio.lowlevel.checkpoint()
        streamed, self._streamed = self._streamed, 0
        try:
            self._print(message.content[streamed:] + "\n")
        except ChannelError:
            self.failures += 1
            raise
        finally:
            self._answered.set()
        self.failures += message.failed

    def begin_anew(self) -> None:
        """Leave what is printed of an answer as it is; it begins again, on a line of its own."""
        if self._streamed:
            self._streamed = 0
            self._print("\n")

    def show(self, history: Sequence[Message]) -> None:
        """Print earlier messages of the conversation."""
        for message in history:
            mark = "> " if message.role == "user" else ""
            self._print(f"{mark}{message.content}\n")

    def _prompt(self) -> None:
        if self._interactive:
            self._print("> ")

    def _print(self, text: str) -> None:
        # What cannot be shown in the terminal's encoding is shown escaped; it must not end the conversation.
        encoding = self._output.encoding or "utf-8"
        try:
            self._output.write(printable(text).encode(encoding, "backslashreplace").decode(encoding))
            self._output.flush()
        except OSError as error:
            raise ChannelError(f"could not print: {error.strerror}") from error

    async def _contents(self) -> AsyncGenerator[str]:
        if self._messages is not None:
            for content in self._messages:
                yield content
            return
        rest = b""
        while chunk := await self._read():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise ChannelError(f"a line of the input is longer than {MAX_LINE_BYTES} bytes")
            for line in lines:
                yield line.decode(errors="replace").removesuffix("\r")
        if rest:
            yield rest.decode(errors="replace").removesuffix("\r")

    async def _read(self) -> bytes:
        try:
            await trio.lowlevel.wait_readable(self._input_fd)
        except PermissionError:  # a regular file: epoll refuses it, and it never blocks for long
            return await trio.to_thread.run_sync(partial(os.read, self._input_fd, _READ_BYTES))
        return os.read(self._input_fd, _READ_BYTES)
