"""Saving as little as can be done durably: write, fsync and rename of ready bytes, then one fsync of the directory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def save_all(directory: Path, contents: Mapping[str, bytes], *, threads: int) -> None:
    """Replace files by new ones, durably.

    Args:
        directory: Where they lie.
        contents: By their names.
        threads: How many work on it.
    """
    waiting = deque(contents.items())
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:

        def work() -> None:
            while True:
                try:
                    name, data = waiting.popleft()
                except IndexError:
                    return
                _replace(folder, name, data)

        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()
        os.fsync(folder)
    finally:
        os.close(folder)


def _replace(folder: int, name: str, data: bytes) -> None:
    temporary = f".{name}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
