"""Reading the file ``config.toml``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from miniclaw.config.tables import Config, parse_config
from miniclaw.errors import ConfigError
from miniclaw.session.disk.directories import why_no_session_file

MAX_BYTES: Final = 1024 * 1024
"""Largest file accepted, inclusive."""


def load_config(path: Path, *, required: bool, warnings: list[str] | None = None) -> Config:
    """Read a configuration.

    Args:
        path: The file.
        required: If true, the file has to exist, as one that the user named; otherwise the defaults hold without it.
        warnings: Receives a sentence for each deprecated form, which a later version will refuse.

    Raises:
        ConfigError: It cannot be read or is invalid; `BrokenConfigError` for more than one problem.
    """
    try:
        text = _read(path).decode("utf-8-sig")  # Windows editors begin a file with a byte order mark
        import tomllib  # noqa: PLC0415 - start-up time: not needed without a file

        values = tomllib.loads(text)
    except FileNotFoundError:
        if required:
            raise ConfigError(path, "there is no such file") from None
        return Config()
    except OSError as error:
        raise ConfigError(path, f"could not read it: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "it is not UTF-8") from error
    except (ValueError, RecursionError) as error:  # most are TOMLDecodeError; the others are in the interpreter's words
        reason = {ValueError: "a number has too many digits", RecursionError: "nested too deeply"}.get(
            type(error), error
        )
        raise ConfigError(path, f"it is not TOML: {reason}") from error
    return parse_config(values, path, warnings=warnings)


def _read(path: Path) -> bytes:
    """Return the content of a regular file, not of a FIFO, on which a read would block; links are followed."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if problem := why_no_session_file(os.fstat(fd).st_mode):
            raise ConfigError(path, problem)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(path, f"it is larger than {MAX_BYTES:,} bytes")
        return data
    finally:
        os.close(fd)
