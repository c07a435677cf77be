"""The kinds of faults that are moved through an operation, and which of its calls each one meets."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator
from typing import Final

from tests.fakes.point_os import Act, Fault, ShortThenFull
from tests.faults.operations import SOAK

ERRNOS: Final = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EINTR)
FOR_GOOD: Final = 10**9

ONE_FAULT: Final[dict[str, Callable[[int], Act]]] = {
    **{errno.errorcode[number]: lambda k, number=number: Fault(k, number) for number in ERRNOS},  # type: ignore[misc]
    "short": lambda k: Fault(k, None),
}
MORE_FAULTS: Final[dict[str, Callable[[int], Act]]] = {
    "short, then full": lambda k: ShortThenFull(k, errno.ENOSPC),
    "EIO for good": lambda k: Fault(k, errno.EIO, more=FOR_GOOD),
    "EROFS for good": lambda k: Fault(k, errno.EROFS, more=FOR_GOOD),
    # A longer test has a second fault within so many calls of the first.
    **{f"EIO twice {gap}": lambda k, gap=gap: Fault(k, errno.EIO, gap=gap) for gap in range(1, max(SOAK, 2))},  # type: ignore[misc]
}
FAULTS: Final = ONE_FAULT | MORE_FAULTS

_AT_EVERY_CALL: Final = {"EIO", "short", "short, then full"}
CALLS_PER_FAULT: Final = 3 if SOAK == 1 else 1
"""All other kinds meet every third call, in turns, so that each call fails in a few ways; in a soak each does in all."""


def calls_of(kind: str) -> Iterator[int]:
    """Return the numbers of the calls that a kind of fault meets, without an end."""
    if kind in _AT_EVERY_CALL:
        return itertools.count(1)
    return itertools.count(1 + list(FAULTS).index(kind) % CALLS_PER_FAULT, CALLS_PER_FAULT)
