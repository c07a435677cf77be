"""Channels that the configuration names and that there are not: most likely misspelt, and then a TTL does not hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from miniclaw.formats import did_you_mean
from miniclaw.session import names
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened, store_errors

if TYPE_CHECKING:
    from miniclaw.config import SessionConfig
    from miniclaw.session.files.directory import SessionDirectory

CHANNELS: Final = frozenset({"console", "telegram", "web"})
"""The channels that miniclaw has, also where one is not switched on."""


def strange_channels(
    session: SessionConfig, directory: SessionDirectory | None, more: Iterable[str] = ()
) -> dict[str, str]:
    """Return each key of ``ttl_by_channel`` that stands for no channel and no session, with a sentence about it.

    The directory is listed only where such a key may be there.

    Args:
        session: The table.
        directory: The sessions; None: there are none.
        more: Channels that a program has besides.

    Raises:
        StoreIOError: The directory cannot be listed.
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
    """Return the channels of the sessions, by the names of their files.

    Raises:
        StoreIOError: The directory cannot be listed.
    """
    found: set[str] = set()
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
    """Return what `strange_channels` has to say, in sentences that name the key."""
    return [f"{key}: {problem}" for key, problem in strange_channels(session, directory, more).items()]
