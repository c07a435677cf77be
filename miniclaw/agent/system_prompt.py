"""The system prompt: ``SYSTEM.md`` in the workspace, if there is one.

It is read for every question, so that a change holds from the next one on.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

NAME: Final = "SYSTEM.md"

MAX_BYTES: Final = 32 * 1024
"""Largest file that is taken, inclusive."""


class SystemPromptError(ValueError):
    """A system prompt that is there and cannot be used; the text says why, and names the file without its folder."""


def read_system_prompt(path: Path, most_chars: int) -> str | None:
    """Return the text, or None where there is no file or nothing in it. Synchronous.

    Args:
        path: The file.
        most_chars: How much of the model's budget it may take, inclusive.

    Raises:
        SystemPromptError: It is not such a text.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo must not make it wait
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SystemPromptError(f"{path.name} could not be read: {error.strerror}") from error
    try:
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise SystemPromptError(f"{path.name} is not a file")
            data = file.read(MAX_BYTES + 1)
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
