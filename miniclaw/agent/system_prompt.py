"""The system prompt: the optional file ``SYSTEM.md`` in the workspace.

The file is read for every question, so that a change applies from the next question on.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

NAME: Final = "SYSTEM.md"

MAX_BYTES: Final = 32 * 1024
"""Largest file accepted, inclusive."""


class SystemPromptError(ValueError):
    """A system prompt that cannot be used; the text gives the reason, and the file's name without its folder."""


def read_system_prompt(path: Path, most_chars: int) -> str | None:
    """Return the system prompt, or None if the file is missing or blank. Synchronous.

    Args:
        path: The file.
        most_chars: The prompt's share of the model's budget, in characters, inclusive.

    Raises:
        SystemPromptError: The file cannot be read, is not a regular file, is not UTF-8, or exceeds a bound.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo must not block
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SystemPromptError(f"{path.name} is not a file")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SystemPromptError(f"{path.name} could not be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise SystemPromptError(f"{path.name} is larger than {MAX_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SystemPromptError(f"{path.name} is not UTF-8") from None
    if len(text) > most_chars:
        raise SystemPromptError(f"{path.name} is longer than half of history_budget, {most_chars:,} characters")
    return text or None
