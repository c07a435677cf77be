"""The files in quarantine, as values."""

from __future__ import annotations

from msgspec import Struct

from miniclaw.session.types import AwareDatetime, SessionHeader


class QuarantinedFile(Struct, frozen=True):
    """A file in quarantine, as it is now.

    Attributes:
        id: Its name in the folder: ``FILE.TIME-RANDOM``.
        file: The name that it had among the sessions; a long one is cut.
        since: When it came there, aware.
        size: Bytes.
        header: Of the session that it holds; None: it is not sound.
        problem: Why it is not sound, in a sentence; empty: it is sound.
        readable: False: the system refused to read it, and its content is unknown.
    """

    id: str
    file: str
    since: AwareDatetime
    size: int
    header: SessionHeader | None = None
    problem: str = ""
    readable: bool = True
