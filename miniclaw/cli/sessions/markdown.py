"""A session as Markdown, for a person to read. What others wrote is quoted, so that it cannot pass for the frame.

HTML could end the quotation, so it is shown as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from miniclaw.formats import format_time, one_line, printable
from miniclaw.session.types import Message, Session


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
    """Yield lines in which nothing begins a tag or a comment; blocks of code, where nothing does, stay as they are.

    A block begins where every reader of Markdown sees one, and ends where any of them may see its end.
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
    """Return a text of one line that Markdown takes for nothing else."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#&" else char for char in one_line(text))
