"""``miniclaw sessions export``: JSON as it is stored, or Markdown for a person to read.

In Markdown, foreign text is quoted, so that it cannot imitate the frame. HTML could end the quotation, and is escaped.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, Literal, TypeAlias

import click

from miniclaw.cli import EXIT_FAILED
from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import channel_option
from miniclaw.cli.output import count, echo_error, echo_json_document
from miniclaw.errors import JournalFormatError, MiniclawError, OutputFileError, SessionNotFoundError, StoreError
from miniclaw.formats import format_time, one_line, printable
from miniclaw.session.disk.atomic import PRIVATE_FILE
from miniclaw.session.disk.sync import sync_file
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec, metadata
from miniclaw.session.types import Message, Session
from miniclaw.workspace.workspace import Workspace

Format: TypeAlias = Literal["json", "markdown"]
Write: TypeAlias = Callable[[bytes], object]

_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@click.command()
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@channel_option
@click.option("--format", "as_format", type=click.Choice(["json", "markdown"]), default="json", show_default=True,
              help="JSON as in the session files, or Markdown to read.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
              help="Create this file, readable by you alone. An existing file is never overwritten.")  # fmt: skip
@pass_workspace
def export(
    workspace: CommandWorkspace,
    *,
    session_ids: tuple[str, ...],
    channel: str | None,
    as_format: Format,
    output: Path | None,
) -> None:
    """Write sessions as JSON or Markdown. This does not count as a use.

    As JSON, one ID gives one document; several IDs, or a channel, give an array. FILE gets the bytes unchanged; printed
    JSON has invisible characters escaped. A session that cannot be read is reported, and the exit code is 1; the others
    are written nevertheless.
    """
    if bool(session_ids) == (channel is not None):
        raise click.UsageError("say which sessions: one or more IDs, or --channel")
    problems: list[MiniclawError | str] = []
    wanted: Sequence[str] = list(dict.fromkeys(session_ids))
    workspace.ask_to_save()
    if channel is not None:
        wanted = _ids_of(workspace, channel, problems)
    in_array = as_format == "json" and (channel is not None or len(wanted) > 1)
    form = _AS["plain" if as_format == "json" and (in_array or output is None) else as_format]
    documents = _documents(wanted, workspace.directory, form, problems)
    # The first document is read before the file is created: if all fail, there is no empty file.
    first = next(documents, None)
    written = 0
    if first is not None or not problems:
        with _opened(output, as_format) as write:
            together = chain([] if first is None else [first], documents)
            written = _write(write, together, in_array=in_array)
    for problem in problems:
        echo_error(problem)
    if channel is not None and not (wanted or problems):
        click.echo(one_line(f"There is no session of the channel {channel}."), err=True)
    if output is not None and (written or not problems):
        click.echo(one_line(f"{count(written, 'session')} exported to {output}."), err=True)
    if problems:
        sys.exit(EXIT_FAILED)


def _ids_of(workspace: Workspace, channel: str, problems: list[MiniclawError | str]) -> list[str]:
    """Return the ids of a channel's sessions, sorted; its unreadable files are added to `problems`."""
    listing, folder = workspace.listing(), workspace.home.sessions_dir
    mine = (problem for problem in listing.problems if problem.key.startswith(f"{channel}_"))
    problems += [f"{folder / problem.key}: {problem.reason}" for problem in mine]
    return sorted(row.header.session_id for row in listing.sessions if row.header.channel == channel)


def _documents(
    session_ids: Sequence[str],
    directory: SessionDirectory | None,
    form: Callable[[Session, bytes], bytes],
    problems: list[MiniclawError | str],
) -> Iterator[bytes]:
    """Yield the documents of the sessions; the error of a session is added to `problems`, and the next one follows."""
    for session_id in session_ids:
        try:
            if directory is None:
                raise SessionNotFoundError(session_id)
            session, source = directory.load_source(session_id)
        except JournalFormatError:
            raise  # it concerns all of them
        except StoreError as error:
            problems.append(error)
        else:
            yield form(session, source)


_AS: Final[dict[str, Callable[[Session, bytes], bytes]]] = {
    "json": lambda _, source: source,
    "plain": lambda _, source: codec.plainly(source),
    "markdown": lambda session, _: session_as_markdown(session).encode(),
}


def _write(write: Write, documents: Iterator[bytes], *, in_array: bool) -> int:
    """Write documents as a JSON array, or with an empty line between two, and return their number."""
    number = 0
    if in_array:
        write(b"[")
    for number, document in enumerate(documents, 1):
        if in_array:
            write(b",\n" if number > 1 else b"\n")
            write(document.strip())
        else:
            write(b"\n" * (number > 1) + document.removesuffix(b"\n") + b"\n")
    if in_array:
        write(b"\n]\n")
    return number


@contextmanager
def _opened(path: Path | None, as_format: Format) -> Iterator[Write]:
    """Create the file to write to, or use standard output, where JSON is printed as all commands print it.

    An incomplete file is deleted.

    Raises:
        OutputFileError: The file exists, or it cannot be created or written.
    """
    if path is None:
        yield partial(echo_json_document if as_format == "json" else click.echo, nl=False)
        return
    try:
        fd = os.open(path, _CREATE_FLAGS, PRIVATE_FILE)
    except FileExistsError:
        raise OutputFileError(path, "it exists, and nothing is overwritten; name a file that does not") from None
    except OSError as error:
        raise OutputFileError(path, f"could not make it: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file.write
            file.flush()
            sync_file(OsCalls(), file.fileno())
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        raise OutputFileError(path, f"could not write it: {error.strerror}") from error
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def session_as_markdown(session: Session) -> str:
    """Return a session as a Markdown document that ends in a newline."""
    lines = [
        f"# {_plain(session.session_id)}",
        "",
        f"- channel: {_plain(session.channel)}",
        f"- chat: {_plain(session.chat_id)}",
        f"- created: {format_time(session.created_at)}",
        f"- last accessed: {format_time(session.last_accessed)}",
        f"- pinned: {'yes' if session.pinned else 'no'}",
        *(f"- {_plain(key)}: {_plain(value)}" for key, value in metadata.as_lines(session.metadata)),
        f"- messages: {len(session.messages)}",
    ]
    for message in session.messages:
        lines += _message(message)
    return "\n".join(lines) + "\n"


def _message(message: Message) -> Iterator[str]:
    yield ""
    yield f"## {message.role}, {format_time(message.timestamp)}"
    if message.tool_call_id is not None:
        yield ""
        yield f"answers the call {_plain(message.tool_call_id)}"
    if message.content:
        yield ""
        yield from (f"> {line}".rstrip() for line in _without_html(printable(message.content).split("\n")))
    for call in message.tool_calls or ():
        yield ""
        yield f"calls {_plain(call.name)}, as {_plain(call.id)}:"
        yield ""
        yield from (f"    {line}" for line in printable(call.arguments).split("\n"))


def _without_html(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines in which no tag and no comment begins; code blocks, in which none can begin, are unchanged.

    A block begins where every reader of Markdown sees a beginning, and ends where any of them may see an end.
    """
    fence: str | None = None
    for line in lines:
        if fence is not None:
            yield line
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
        else:
            yield re.sub(r"<(?=[a-z/!?])", "&lt;", line, flags=re.IGNORECASE)
            begins = re.fullmatch(r"(`{3,})[^`]*|(~{3,}).*", line)
            fence = (begins[1] or begins[2]) if begins else None


def _plain(text: str) -> str:
    """Return a text in one line, with the special characters of Markdown escaped."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#&" else char for char in one_line(text))
