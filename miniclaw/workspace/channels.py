"""Warnings about unknown channels in the configuration: most likely misspelt, and then their TTL has no effect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from miniclaw import plugins
from miniclaw.formats import did_you_mean
from miniclaw.session import names
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened, store_errors

if TYPE_CHECKING:
    from miniclaw.config import SessionConfig
    from miniclaw.session.files.directory import SessionDirectory

CHANNELS: Final = frozenset(plugins.CHANNELS.own)
"""The channels of miniclaw, switched on or not."""


def strange_channels(
    session: SessionConfig, directory: SessionDirectory | None, more: Iterable[str] = ()
) -> dict[str, str]:
    """Return each key of ``ttl_by_channel`` whose channel the program and the sessions lack, with a sentence about it.

    The directory is listed only if a key is neither in `CHANNELS` nor in `more`.

    Args:
        session: The configuration's table.
        directory: The sessions directory; None: there are no sessions.
        more: Channels of the program besides `CHANNELS`.

    Raises:
        StoreIOError, JournalFormatError: As `channels_of`.
    """
    known = CHANNELS.union(more)
    if directory is not None and session.ttl_by_channel.keys() - known:
        known |= channels_of(directory)
    return {
        f"session.ttl_by_channel.{name}": f"no channel and no session is called {name}{did_you_mean(name, known)}"
        for name in session.ttl_by_channel
        if name not in known
    }


def channels_of(directory: SessionDirectory) -> set[str]:
    """Return the channels that the names of the session files contain, and those of sessions that have no file yet.

    Raises:
        StoreIOError: The directory, or its journal, cannot be listed; `JournalFormatError`: a newer version has written
            the journal.
    """
    found = {names.parts_of(session_id)[0] for session_id in directory.overlay.ids.values()}
    fs = directory.fs
    with (
        store_errors(directory.path, "list"),
        opened(fs, ".", DIRECTORY_FLAGS, dir_fd=directory.fd) as fd,
        fs.scandir(fd) as entries,
    ):
        for entry in entries:
            channel, divider, _ = entry.name.partition("_")
            if divider and channel not in found and names.is_session_file(entry.name) and names.is_channel(channel):
                found.add(channel)
    return found


def channel_warnings(session: SessionConfig, directory: SessionDirectory | None, more: Iterable[str] = ()) -> list[str]:
    """Return the sentences of `strange_channels`, each after its key; arguments and errors are the same."""
    return [f"{key}: {problem}" for key, problem in strange_channels(session, directory, more).items()]
