"""Secrets, and their removal from logs and messages.

A `Secret` does not reveal itself by accident. Each new one is also remembered here, so that `redact` removes it from
foreign texts: an answer of a server, the text of an exception, an event of the log. A secret that is no longer valid
can be forgotten.

A secret of the administrator is read from the environment, or from a file that only its owner can read.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from miniclaw.errors import ConfigError, StoreIOError
from miniclaw.session.disk.atomic import PRIVATE_DIR, opened
from miniclaw.session.disk.directories import why_not_followed
from miniclaw.session.disk.privacy import OTHERS, keep_others_out, keeps_modes
from miniclaw.session.disk.syscalls import OsCalls

HIDDEN: Final = "[secret]"
"""The replacement of a secret in a text."""

_LEAST_CHARS: Final = 4  # a shorter one would tear up ordinary words, and is no secret

# Longest first: of two secrets with the same beginning none leaves its end. Replaced whole, as any thread may read it.
_known: tuple[str, ...] = ()


MAX_SECRET_CHARS: Final = 4096
"""Longest secret, inclusive."""

_SECRET: Final = re.compile(rf"[!-~]{{1,{MAX_SECRET_CHARS}}}")  # characters that a header may contain


class Secret:
    """A text that is not shown."""

    def __init__(self, value: str) -> None:
        global _known  # noqa: PLW0603 - secrets are kept from the log of the whole process
        self._value = value
        if len(value) >= _LEAST_CHARS and value not in _known:
            _known = tuple(sorted({*_known, *_forms(value)}, key=len, reverse=True))

    def reveal(self) -> str:
        """Return the text, for the one place that needs it."""
        return self._value

    def forget(self) -> None:
        """Stop redacting the text, which is no longer valid. For secrets that are made again and again."""
        global _known  # noqa: PLW0603 - as above
        forms = _forms(self._value)
        _known = tuple(known for known in _known if known not in forms)

    def __repr__(self) -> str:
        return "<Secret>"


def _forms(value: str) -> set[str]:
    """Return the forms of a secret in plain text, in JSON, and in the repr() of a text that contains it."""
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1]}


def redact(text: str) -> str:
    """Return a text with every known secret replaced."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return text


class StreamRedactor:
    """Removes one secret, if there is one, from a text that arrives in pieces.

    A possible beginning of the secret is held back until more is known.
    """

    def __init__(self, secret: Secret | None) -> None:
        self._secret = secret.reveal() if secret else ""
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the part of the text so far that can be shown and was not yet returned."""
        if len(self._secret) < _LEAST_CHARS:
            return piece
        text = (self._held + piece).replace(self._secret, HIDDEN)
        most = min(len(self._secret) - 1, len(text))
        held = next((size for size in range(most, 0, -1) if self._secret.startswith(text[-size:])), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return the part held back: the text has ended, so it is not the secret."""
        held, self._held = self._held, ""
        return held


def load_secret(
    what: str,
    key: str,
    *,
    variable: str | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Secret | None:
    """Return a secret that the configuration names, or None if it names none. Reads a file, synchronously.

    Args:
        what: The secret's noun in messages, such as ``key``.
        key: The configuration's key of it, up to before ``_env`` and ``_file``, such as ``model.api_key``.
        variable: The environment variable that holds it.
        file: The file that holds it.
        environment: The variables.

    Raises:
        ConfigError: It does not exist, is no valid secret, or others can read it; the error's text does not contain it.
    """
    if variable is not None:
        text = environment.get(variable)
        if text is None:
            raise ConfigError(None, f"the environment variable {variable} is not set", key=f"{key}_env")
        return _check(text, None, what, f"{key}_env")
    if file is not None:
        return _check(read_private(file, f"{key}_file"), file, what, f"{key}_file")
    return None


def make_private(directory: Path) -> None:
    """Create a directory if there is none, and keep all other users out of it. Reads and writes, synchronously.

    A user who can write in it could replace a file or a socket of ours. A directory of another user, which cannot be
    made private, is a WARNING.

    Raises:
        ConfigError: It is another user's link.
        StoreIOError: It cannot be created or opened.
    """
    # Nor is a link followed that takes the directory's place after this check.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if directory.is_symlink() else os.O_NOFOLLOW)
    if problem := why_not_followed(directory):
        raise ConfigError(directory, problem)
    try:
        directory.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        fd = os.open(directory, flags)
    except OSError as error:
        raise StoreIOError(directory, "make this directory", error) from error
    try:
        keep_others_out(OsCalls(), fd, directory)
    finally:
        os.close(fd)


def read_private(path: Path, key: str | None = None, *, made_here: bool = False) -> str:
    """Return the text of a small file that only its owner may be able to read.

    Args:
        path: The file.
        key: The configuration's key of it; None: it has none.
        made_here: True if the program chose the file's place, so that the user could not choose another. Then it is
            read even on a file system without modes, which is already a WARNING for its directory.

    Raises:
        ConfigError: It cannot be read, is no file, or others can read it.
    """
    try:
        # It does not block on a FIFO.
        with opened(OsCalls(), str(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK) as fd:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(path, "it is not a file", key=key)
            if status.st_mode & OTHERS and not (made_here and not keeps_modes(path.parent)):
                mode = stat.S_IMODE(status.st_mode)
                raise ConfigError(path, f"others can read it (mode {mode:04o}); chmod 600 it", key=key)
            return os.read(fd, MAX_SECRET_CHARS + 100).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(path, f"could not read it: {error.strerror}", key=key) from error


def _check(text: str, path: Path | None, what: str, key: str) -> Secret:
    text = text.strip()
    if not _SECRET.fullmatch(text):
        problem = f"it is no {what}: 1 to {MAX_SECRET_CHARS} visible ASCII characters"
        raise ConfigError(path, problem, key=key)
    return Secret(text)
