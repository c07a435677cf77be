"""The token: made once, kept in a file that nobody else can read; and the cookie that a browser gets for it.

The cookie holds a time and a code that only who knows the token can make: nothing has to be remembered here, and it
tells nobody the token. A new token ends all cookies.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Final

from miniclaw.errors import ConfigError
from miniclaw.redaction import Secret
from miniclaw.secret_files import MAX_SECRET_CHARS, read_private
from miniclaw.session.logs import get_logger

TOKEN_NAME: Final = "web-token"  # noqa: S105 - a file's name
LEAST_TOKEN_CHARS: Final = 32
"""Shortest token, inclusive: shorter ones could be guessed."""

COOKIE_SECONDS: Final = 30 * 86_400
"""For how long a cookie is good."""

_TOKEN: Final = re.compile(rf"[!-~]{{{LEAST_TOKEN_CHARS},{MAX_SECRET_CHARS}}}")
_COOKIE: Final = re.compile(r"v1\.([0-9]{1,12})\.([0-9a-f]{64})")
_COOKIE_PURPOSE: Final = b"miniclaw web session 1\n"

log = get_logger("miniclaw.web")


def load_token(workspace: Path) -> Secret:
    """Return the workspace's token; one is made if there is none. Reads and writes, synchronously.

    Durability: a token that was returned is on disk.

    Raises:
        ConfigError: Its file is not one that nobody else can read and that holds a token.
    """
    path = workspace / TOKEN_NAME
    try:
        if path.is_symlink():
            raise ConfigError(path, "it is a link; remove it, and a new token is made at the next start")
        if not path.exists():
            workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, secrets.token_urlsafe(32))
            log.info("Web token made", path=str(path))
    except OSError as error:
        raise ConfigError(path, f"could not make a token: {error.strerror}") from error
    text = read_private(path).strip()
    if not _TOKEN.fullmatch(text):
        problem = (
            f"it holds no token: {LEAST_TOKEN_CHARS} to {MAX_SECRET_CHARS} visible ASCII characters without spaces; "
            "remove it, and a new one is made at the next start"
        )
        raise ConfigError(path, problem)
    return Secret(text)


def _write(path: Path, text: str) -> None:
    """Write a new file, so that it is whole, private and on disk, or not there."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # of a start that was killed
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{text}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def is_token(token: Secret, shown: str) -> bool:
    """Return whether a text is the token, in a time that does not depend on where it differs."""
    return hmac.compare_digest(token.reveal().encode(), shown.encode(errors="surrogatepass"))


def make_cookie(token: Secret, now: float) -> str:
    """Return the cookie of a browser that has shown the token.

    Args:
        token: The token.
        now: Seconds of the epoch.
    """
    until = str(int(now) + COOKIE_SECONDS)
    return f"v1.{until}.{_code(token, until)}"


def is_cookie(token: Secret, cookie: str, now: float) -> bool:
    """Return whether a text is a cookie that was made here for this token, and is still good."""
    match = _COOKIE.fullmatch(cookie)
    if match is None or not hmac.compare_digest(_code(token, match[1]), match[2]):
        return False
    return now < int(match[1]) <= now + COOKIE_SECONDS


def _code(token: Secret, until: str) -> str:
    return hmac.new(token.reveal().encode(), _COOKIE_PURPOSE + until.encode(), "sha256").hexdigest()
