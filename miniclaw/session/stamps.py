"""The stamp at the end of a name in quarantine or in the trash: ``{stem}.{YYYYmmddTHHMMSSZ}-{8 hex}``.

It says since when the file lies there. A file's own times do not: a rename keeps them, and a copy makes new ones.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import Final

STAMP_CHARS: Final = 26
"""Characters of a stamp, with the full stop before it."""

_STAMPED: Final = r"(?P<stem>.+)\.(?P<time>[0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}"  # compiled when there is one
_FORMAT: Final = "%Y%m%dT%H%M%SZ"


def stamped(stem: str, now: datetime) -> str:
    """Return a name that tells `now`, an aware time, and that nobody else has."""
    utc = now.astimezone(UTC)
    # strftime leaves out the zeros of a year before 1000 on some systems.
    return f"{stem}.{utc.year:04d}{utc:%m%dT%H%M%SZ}-{os.urandom(4).hex()}"


def split_stamped(name: str) -> tuple[str, datetime] | None:
    """Return the stem of a name and the time of its stamp; None for a name that has no such stamp."""
    match = re.fullmatch(_STAMPED, name, re.DOTALL)
    if match is None:
        return None
    try:
        return match["stem"], datetime.strptime(match["time"], _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
