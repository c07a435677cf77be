"""The part of a store that only files have: leftovers, quarantine, free disk, and the place of the directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from miniclaw.session.entries import Leftover, QuarantinedFile


class FileMaintenance(Protocol):
    """A look at the files beside the sessions. Every method raises `StoreUnavailableError` if the disk refuses."""

    async def leftovers(self) -> Sequence[Leftover]:
        """Return the files beside the sessions: temporary, unfinished, in quarantine, or in the trash."""
        ...

    async def quarantined(self) -> Sequence[QuarantinedFile]:
        """Return the files in quarantine, the oldest first."""
        ...

    async def free_disk(self) -> int | None:
        """Return the free bytes of the disk; None: it does not report them."""
        ...

    async def misplaced(self) -> str:
        """Return why the path no longer leads to the directory; empty: it does."""
        ...
