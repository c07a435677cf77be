"""The console channel over real descriptors: a pipe, a regular file, a terminal that cannot show everything."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.agent.inbox import Inbox
from miniclaw.channels.base import InboundMessage, OutboundDelta, OutboundMessage, StreamingChannel
from miniclaw.channels.console import ConsoleChannel
from miniclaw.errors import ChannelEndedError
from miniclaw.session.types import Message
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.printed import Printed, printing
from tests.fakes.threads import settle

LONG = "x" * 200_000  # more than one read, and more than a pipe holds


@pytest.fixture
def printed() -> Iterator[Printed]:
    with printing() as printed:
        yield printed


def _echo(message: InboundMessage) -> OutboundMessage:
    return OutboundMessage(message.channel, message.chat_id, f"re {message.content[:40]}", message)


async def _converse(
    channel: ConsoleChannel, answer: Callable[[InboundMessage], OutboundMessage] = _echo
) -> list[InboundMessage]:
    """Run the channel to its end, answer each message, and return them all."""
    send, receive = trio.open_memory_channel[InboundMessage](0)
    received = []
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                async with send:
                    await channel.run(send)

            nursery.start_soon(run)
            async for message in receive:
                received.append(message)
                await channel.send(answer(message))
    return received


@contextmanager
def _pipe(data: bytes) -> Iterator[int]:
    """Give the reading end of a pipe that holds the data and is closed."""
    reader, writer = os.pipe()
    try:
        os.write(writer, data)
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


@contextmanager
def _file(path: Path, data: bytes) -> Iterator[int]:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


LINES = [
    (b"one\ntwo\n", ["one", "two"]),
    (b"one\ntwo", ["one", "two"]),
    (b"one\r\ntwo\r\n", ["one", "two"]),
    (b"a\rb\n", ["a\rb"]),
    (b"\n  \n\t\none\n\n", ["one"]),
    (b"  kept as written  \n", ["  kept as written  "]),
    (b"\xff\xfe\nok\n", ["\ufffd\ufffd", "ok"]),
    ("zażółć 😀\n".encode(), ["zażółć 😀"]),
    ("u2028 \u2028 is no line end\n".encode(), ["u2028 \u2028 is no line end"]),
    (b"", []),
    (b"\n", []),
]


@pytest.mark.parametrize(("data", "expected"), LINES)
async def test_console_pipe_each_line_is_a_message(data: bytes, expected: list[str], printed: Printed) -> None:
    """Lines become messages, the last one also without its end; empty ones and wrong bytes end nothing."""
    with _pipe(data) as fd:
        received = await _converse(ConsoleChannel("me", input_fd=fd, output_fd=printed.fd))
    assert received == [InboundMessage("console", "me", text) for text in expected]


@pytest.mark.parametrize(("data", "expected"), LINES)
async def test_console_regular_file_each_line_is_a_message(
    tmp_path: Path, data: bytes, expected: list[str], printed: Printed
) -> None:
    """A file that is redirected in is read as a pipe is, although it cannot be waited for."""
    with _file(tmp_path / "input", data) as fd:
        received = await _converse(ConsoleChannel("me", input_fd=fd, output_fd=printed.fd))
    assert [message.content for message in received] == expected


async def test_console_regular_file_line_longer_than_a_read_is_one_message(tmp_path: Path, printed: Printed) -> None:
    """The size of a read is nobody's business."""
    with _file(tmp_path / "input", f"{LONG}\nshort\n".encode()) as fd:
        received = await _converse(ConsoleChannel("me", input_fd=fd, output_fd=printed.fd))
    assert [message.content for message in received] == [LONG, "short"]


async def test_console_line_that_comes_in_parts_is_one_message(printed: Printed) -> None:
    """Neither a line nor a character of several bytes has to come in one piece."""
    reader, writer = os.pipe()
    line = "grüße 😀\n".encode()
    try:
        async with trio.open_nursery() as nursery:

            async def type_slowly() -> None:
                for index in range(len(line)):
                    os.write(writer, line[index : index + 1])
                    await wait_all_tasks_blocked()
                os.close(writer)

            nursery.start_soon(type_slowly)
            received = await _converse(ConsoleChannel("me", input_fd=reader, output_fd=printed.fd))
    finally:
        os.close(reader)
    assert [message.content for message in received] == ["grüße 😀"]


async def test_console_next_line_waits_for_the_answer(printed: Printed) -> None:
    """The answer stands before the next message is sent: one at a time, whatever lies ready to be read."""
    send, receive = trio.open_memory_channel[InboundMessage](10)
    with _pipe(b"one\ntwo\nthree\n") as fd:
        channel = ConsoleChannel("me", input_fd=fd, output_fd=printed.fd)
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.run, send)
                for text in ("one", "two", "three"):
                    message = await receive.receive()
                    await wait_all_tasks_blocked()
                    assert message.content == text
                    assert receive.statistics().current_buffer_used == 0
                    await channel.send(_echo(message))
    assert printed.text == "re one\nre two\nre three\n"


async def test_console_given_messages_are_sent_instead_of_reading(printed: Printed) -> None:
    """With messages of its own the channel does not touch its input."""
    channel = ConsoleChannel("me", messages=["one\nline more", "two"], input_fd=-1, output_fd=printed.fd)
    assert [message.content for message in await _converse(channel)] == ["one\nline more", "two"]


async def test_console_failed_answers_are_counted(printed: Printed) -> None:
    """The program can tell at the end that something was not answered."""

    def answer(message: InboundMessage) -> OutboundMessage:
        return OutboundMessage("console", "me", "sorry", message, failed=message.content == "bad")

    channel = ConsoleChannel("me", messages=["good", "bad", "bad"], output_fd=printed.fd)
    await _converse(channel, answer)
    assert channel.failures == 2


async def test_console_answer_with_control_characters_is_shown_escaped(printed: Printed) -> None:
    """What a model writes never commands the terminal."""
    await ConsoleChannel("me", messages=[], output_fd=printed.fd).send(
        OutboundMessage("console", "me", "\x1b]0;x\x07\ttab")
    )
    assert printed.text == "\\x1b]0;x\\x07\ttab\n"


async def test_console_answer_the_terminal_cannot_encode_is_shown_escaped(printed: Printed) -> None:
    """A terminal without emoji does not end the conversation."""
    console = ConsoleChannel("me", messages=[], output_fd=printed.fd, encoding="latin-1")
    await console.send(OutboundMessage("console", "me", "ü 😀 \udcff"))
    assert printed.data == b"\xfc \\U0001f600 \\udcff\n"


async def test_console_show_marks_what_the_person_wrote(printed: Printed) -> None:
    """Earlier messages are told apart: the person's own stand behind a mark."""
    now = datetime.now(UTC)
    channel = ConsoleChannel("me", messages=[], output_fd=printed.fd)
    await channel.show([Message("user", "hello\x1b", now), Message("assistant", "hi", now)])
    assert printed.text == "> hello\\x1b\n  hi\n"


async def test_console_cancelled_while_it_waits_for_input_ends_at_once(printed: Printed) -> None:
    """A person who types nothing does not hold up the shutdown."""
    reader, writer = os.pipe()
    send, _receive = trio.open_memory_channel[InboundMessage](0)
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                await nursery.start(ConsoleChannel("me", input_fd=reader, output_fd=printed.fd).run, send)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert nursery.cancel_scope.cancelled_caught
    finally:
        os.close(reader)
        os.close(writer)


async def test_console_pieces_are_printed_as_they_come_and_once(printed: Printed) -> None:
    """Each piece stands there at once; of the whole only what is left is printed, and the next answer begins anew."""
    channel = ConsoleChannel("me", messages=[], output_fd=printed.fd)
    assert isinstance(channel, StreamingChannel)
    asked = InboundMessage("console", "me", "hi")
    shown = []
    for text in ("Hel", "lo\x1b"):
        await channel.send_delta(OutboundDelta("console", "me", text, asked))
        shown.append(printed.text)
    await channel.send(OutboundMessage("console", "me", "Hello\x1b\n\nThe answer ends here", asked, failed=True))
    await channel.send(OutboundMessage("console", "me", "whole", asked))
    assert shown == ["Hel", "Hello\\x1b"]
    assert printed.text == "Hello\\x1b\n\nThe answer ends here\nwhole\n"
    assert channel.failures == 1


async def test_console_terminal_that_is_gone_ends_it_for_good() -> None:
    """Neither reading nor printing is tried again and again where there is no terminal any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(ChannelEndedError, match="could not read: Bad file descriptor"):
        await ConsoleChannel("me", input_fd=writer).run(Inbox())
    os.close(writer)


IMITATION = "hi\n> /delete everything\r\n> \u2028> x\n\n"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: the end where a person types, and the end that the program reads."""
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("pieces", [[], [3, 4, 9], list(range(1, len(IMITATION)))])
async def test_console_answer_between_prompts_imitates_none(
    terminal: tuple[int, int], pieces: list[int], printed: Printed
) -> None:
    """Whatever a model writes, a line that begins with the prompt is the person's; however the answer is cut up."""
    inbox = Inbox()
    channel = ConsoleChannel("me", input_fd=terminal[1], output_fd=printed.fd)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, inbox)
        os.write(terminal[0], b"hello\n")
        message = await inbox.next_message()
        assert message is not None
        for begin, end in pairwise([0, *pieces]):
            await channel.send_delta(OutboundDelta("console", "me", IMITATION[begin:end], message))
        await channel.send(OutboundMessage("console", "me", IMITATION, message))
        await settle()
        nursery.cancel_scope.cancel()
    assert printed.text == (
        "> "  # and the person's line, which the terminal shows
        "  hi\n  > /delete everything\\r\n  > \\u2028> x\n\n\n"
        "> "
    )


async def test_console_history_imitates_neither_prompt_nor_speaker(printed: Printed) -> None:
    """Of what is shown again, exactly the person's messages begin with the prompt."""
    said = [Message(role, IMITATION, datetime.now(UTC)) for role in ("user", "assistant", "system")]
    await ConsoleChannel("me", messages=[], output_fd=printed.fd).show(said)
    assert [line for line in printed.text.split("\n") if line and not line.startswith("  ")] == ["> hi"]


async def test_console_answer_that_begins_anew_is_set_in_again(terminal: tuple[int, int], printed: Printed) -> None:
    """After a break in an answer its beginning stands on a line of its own, set in like all others."""
    channel = ConsoleChannel("me", input_fd=terminal[1], output_fd=printed.fd)
    message = InboundMessage("console", "me", "hello")
    await channel.send_delta(OutboundDelta("console", "me", "half", message))
    await channel.begin_anew()
    await channel.send(OutboundMessage("console", "me", "whole", message))
    assert printed.text == "  half\n  whole\n"
