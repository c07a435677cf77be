"""The console: a chat with the person at the terminal, or with piped input.

One line is one message. Its answer is printed, as it comes, before the next line is read. A terminal that is stopped by
Ctrl-S, or a pipe that is not read, delays the conversation alone: a worker thread prints, bypassing the buffer of
``sys.stdout``, whose flush at exit could block.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

import trio

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.errors import ChannelEndedError, ChannelError
from miniclaw.formats import Indented, printable, width_of
from miniclaw.output_queue import write_all
from miniclaw.session.types import Message

CHANNEL: Final = "console"

MAX_LINE_BYTES: Final = 1024 * 1024
"""Longest line accepted as a message, without its line end."""

_READ_BYTES: Final = 65_536
_PROMPT: Final = "> "


class ConsoleChannel:
    """Reads messages line by line and prints the answers.

    Args:
        chat_id: The chat of the conversation.
        messages: The messages to send instead of reading any.
        input_fd: File descriptor from which lines are read.
        output_fd: File descriptor to which answers are printed.
        encoding: Encoding of the answers.
    """

    name = CHANNEL

    def __init__(
        self,
        chat_id: str,
        *,
        messages: Sequence[str] | None = None,
        input_fd: int = 0,
        output_fd: int = 1,
        encoding: str = "utf-8",
    ) -> None:
        self._chat_id = chat_id
        self._messages = messages
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._encoding = encoding
        self._interactive = messages is None and os.isatty(input_fd)
        self._answered = trio.Event()  # replaced for each message, on the trio thread
        self._answered.set()
        self._streamed = 0  # characters of the answer printed so far
        self._answer: Indented | None = None  # while an answer is printed between prompts
        self.failures: int = 0

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Send each line, and wait for its answer, until the input ends (`Channel.run`).

        Raises:
            ChannelEndedError: The terminal is gone, or a line is too long.
        """
        task_status.started()
        await self._prompt()
        async with aclosing(self._contents()) as contents:
            async for content in contents:
                if content.strip():
                    self._answered = trio.Event()
                    await inbound.send(InboundMessage(self.name, self._chat_id, content))
                    await self._answered.wait()
                await self._prompt()
        if self._interactive:
            await self._print("\n")

    @property
    def is_answered(self) -> bool:
        """True if the last message has its answer, or if there was none."""
        return self._answered.is_set()

    async def send_delta(self, delta: OutboundDelta) -> None:
        """Print the next piece of an answer.

        Cancellation: the piece may be printed all the same.
        """
        await self._print(self._shown(delta.text))
        self._streamed += len(delta.text)

    async def send(self, message: OutboundMessage) -> None:
        """Print the answer, or its rest after the pieces.

        Cancellation: the text may be printed all the same, and counts as not printed.
        """
        streamed, self._streamed = self._streamed, 0
        try:
            await self._print(self._shown(message.content[streamed:]) + "\n")
        except ChannelError:
            self.failures += 1
            self._answer = None
            self._answered.set()
            raise
        self._answer = None
        self.failures += message.failed
        self._answered.set()

    async def begin_anew(self) -> None:
        """End a partly printed answer; it begins again, on a line of its own."""
        if self._streamed:
            self._streamed, self._answer = 0, None
            await self._print("\n")

    async def show(self, history: Sequence[Message]) -> None:
        """Print earlier messages of the conversation: the person's after a prompt, all other lines indented."""
        for message in history:
            is_persons = message.role == "user"
            shown = Indented(width_of(self._output_fd), begun=is_persons).feed(self._encodable(message.content))
            await self._print(f"{_PROMPT if is_persons else ''}{shown}\n")

    def _shown(self, piece: str) -> str:
        """Return a piece of an answer as it is printed: between prompts it is indented, and cannot imitate one."""
        piece = self._encodable(piece)
        if not self._interactive:
            return printable(piece)
        if self._answer is None:
            self._answer = Indented(width_of(self._output_fd))
        return self._answer.feed(piece)

    def _encodable(self, text: str) -> str:
        """Escape the characters that the terminal's encoding lacks; an error would end the conversation."""
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)

    async def _prompt(self) -> None:
        if self._interactive:
            await self._print(_PROMPT)

    async def _print(self, text: str) -> None:
        try:
            data = text.encode(self._encoding, "backslashreplace")
            await trio.to_thread.run_sync(partial(write_all, self._output_fd, data), abandon_on_cancel=True)
        except OSError as error:
            raise ChannelEndedError(f"could not print: {error.strerror}") from error

    async def _contents(self) -> AsyncGenerator[str]:
        if self._messages is not None:
            for content in self._messages:
                yield content
            return
        rest = b""
        while chunk := await self._read():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise ChannelEndedError(f"a line of the input is longer than {MAX_LINE_BYTES} bytes")
            for line in lines:
                yield line.decode(errors="replace").removesuffix("\r")
        if rest:
            yield rest.decode(errors="replace").removesuffix("\r")

    async def _read(self) -> bytes:
        try:
            try:
                await trio.lowlevel.wait_readable(self._input_fd)
            except PermissionError:  # a regular file: epoll refuses it, and it never blocks for long
                return await trio.to_thread.run_sync(partial(os.read, self._input_fd, _READ_BYTES))
            return os.read(self._input_fd, _READ_BYTES)
        except OSError as error:  # the terminal is gone
            raise ChannelEndedError(f"could not read: {error.strerror}") from error
