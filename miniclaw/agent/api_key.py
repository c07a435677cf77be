"""The key of a model's server: from the environment, or from a file that nobody else can read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from miniclaw.agent.config import ModelConfig
from miniclaw.errors import ConfigError
from miniclaw.redaction import Secret

MAX_KEY_CHARS: Final = 4096
"""Longest key, inclusive."""

_KEY: Final = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARS}}}")  # what can stand in a header


def load_key(config: ModelConfig, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the key that the configuration names, or None if it names none. Reads a file, synchronously.

    Raises:
        ConfigError: It is not there, is no key, or others can read it; the text does not hold it.
    """
    if config.api_key_env is not None:
        text = environment.get(config.api_key_env)
        if text is None:
            raise ConfigError(
                None, f"the environment variable {config.api_key_env} is not set", key="model.api_key_env"
            )
        return _check(text, None, "model.api_key_env")
    if config.api_key_file is not None:
        return _check(_read(config.api_key_file), config.api_key_file, "model.api_key_file")
    return None


def _check(text: str, path: Path | None, key: str) -> Secret:
    text = text.strip()
    if not _KEY.fullmatch(text):
        raise ConfigError(path, f"what is there is no key: 1 to {MAX_KEY_CHARS} visible ASCII characters", key=key)
    return Secret(text)


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo must not make it wait
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(path, "it is not a file", key="model.api_key_file")
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise ConfigError(
                    path, f"others can read it (mode {mode:04o}); chmod 600 it", key="model.api_key_file"
                )  # fmt: skip
            return os.read(fd, MAX_KEY_CHARS + 100).decode("ascii", "replace")
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError(path, f"could not read it: {error.strerror}", key="model.api_key_file") from error
