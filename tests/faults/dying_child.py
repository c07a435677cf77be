"""Work in a forked child, which is killed in it or has to end it without an error."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Never, TypeAlias

Tell: TypeAlias = Callable[[str], None]
"""Tells the parent a line."""


def in_child(work: Callable[[Tell], None]) -> tuple[bool, list[str]]:
    """Do work in a forked child. Return whether it was killed, and the whole lines that it had told before.

    Raises:
        RuntimeError: It failed otherwise; its traceback is on standard error.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _be_child(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    lines = told.decode().split("\n")[:-1]  # behind the last line feed may be the beginning of what had not begun
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True, lines
    if status:
        raise RuntimeError(f"the child failed, status {status}: {lines}")
    return False, lines


def _be_child(work: Callable[[Tell], None], writing: int) -> Never:
    def tell(line: str) -> None:
        data = f"{line}\n".encode()
        while data:
            data = data[os.write(writing, data) :]

    status = 1
    try:
        work(tell)
        status = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(status)
