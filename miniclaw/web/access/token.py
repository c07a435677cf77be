"""The token: made once, kept in a file that only its owner can read; and the login that a browser gets for it.

A login holds a time and a code that can be made with the token only. The server stores no logins, a restart ends none,
and a login does not reveal the token. A new token ends all logins.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Final

from miniclaw.errors import ConfigError, StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.secret import MAX_SECRET_CHARS, Secret, read_private
from miniclaw.session.disk.atomic import create_exclusively, opened
from miniclaw.session.disk.directories import make_private
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.disk.syscalls import OsCalls

TOKEN_NAME: Final = "web-token"  # noqa: S105 - a file's name
LEAST_TOKEN_CHARS: Final = 32
"""Length of the shortest token, inclusive: shorter ones could be guessed."""

LOGIN_SECONDS: Final = 30 * 86_400
"""Lifetime of a login, exclusive."""

_TOKEN: Final = re.compile(rf"[!-~]{{{LEAST_TOKEN_CHARS},{MAX_SECRET_CHARS}}}")
_LOGIN: Final = re.compile(r"v2\.([0-9]{1,12})\.([0-9a-f]{64})")
_LOGIN_PURPOSE: Final = b"miniclaw web login 2\n"  # version 1 was a cookie, which every port of a host receives

log: Final = get_logger("miniclaw.web")


def load_token(workspace: Path) -> Secret:
    """Return the workspace's token; one is made if there is none. Blocks; may write files.

    Durability: a returned token is on disk.

    Raises:
        ConfigError: The file is a link or another user's, can be read by others or not by us, or holds no token.
        StoreIOError: No token can be made; the disk may be full.
    """
    path = workspace / TOKEN_NAME
    try:
        if path.is_symlink():
            raise ConfigError(path, "it is a link; remove it, and a new token is made at the next start")
        if path.exists():
            _check_owner(path)
        else:
            if not workspace.exists():
                make_private(OsCalls(), workspace)
            _write(path, secrets.token_urlsafe(32))
            log.info("Web token made", path=str(path))
    except OSError as error:
        raise StoreIOError(path, "make a token", error) from error
    text = read_private(path, made_here=True).strip()
    if not _TOKEN.fullmatch(text):
        problem = (
            f"it holds no token: {LEAST_TOKEN_CHARS} to {MAX_SECRET_CHARS} visible ASCII characters without spaces; "
            "remove it, and a new one is made at the next start"
        )
        raise ConfigError(path, problem)
    return Secret(text)


def _check_owner(path: Path) -> None:
    """Refuse a token file of another user, who would know the token."""
    owner = path.lstat().st_uid
    if owner not in {0, os.geteuid(), path.parent.stat().st_uid}:
        problem = f"it belongs to another user (uid {owner}); remove it, and a new token is made at the next start"
        raise ConfigError(path, problem)


def _write(path: Path, text: str) -> None:
    """Write a new file: it is whole, private and on disk, or does not exist."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # left by a start that was killed
    with opened(OsCalls(), str(path.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as directory:
        create_exclusively(OsCalls(), temporary.name, f"{text}\n".encode(), dir_fd=directory)
        os.rename(temporary, path)
        sync_directory(OsCalls(), directory)


def is_token(token: Secret, shown: str) -> bool:
    """Return whether a text is the token, in a time that does not depend on the position of a difference."""
    return hmac.compare_digest(token.reveal().encode(), shown.encode(errors="surrogatepass"))


def make_login(token: Secret, now: float) -> str:
    """Return the login of a browser that has shown the token, or a one-time code."""
    until = str(int(now) + LOGIN_SECONDS)
    return f"v2.{until}.{_code(token, until)}"


def is_login(token: Secret, login: str, now: float) -> bool:
    """Return whether a text is a login that was made for this token, and has not expired."""
    match = _LOGIN.fullmatch(login)
    if match is None or not hmac.compare_digest(_code(token, match[1]), match[2]):
        return False
    # A login from the future is valid: a machine without a battery clock starts in the past, which must end no login.
    return now < int(match[1])


def _code(token: Secret, until: str) -> str:
    return hmac.new(token.reveal().encode(), _LOGIN_PURPOSE + until.encode(), "sha256").hexdigest()
