"""The care for files, which other stores do not have: leftovers, quarantine, free disk, and the directory's place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from miniclaw.session.as_store.core import FileCore
from miniclaw.session.entries import Leftover, QuarantinedFile
from miniclaw.session.removal.quarantine_files import list_quarantined


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


class DirectoryMaintenance(FileMaintenance):
    """The `FileMaintenance` of a directory."""

    def __init__(self, core: FileCore) -> None:
        self._core = core
        self._files = core.files

    async def leftovers(self) -> Sequence[Leftover]:
        """Return the files beside the sessions."""
        return await self._core.step(partial(self._files.leftovers, self._core.now(), []))

    async def quarantined(self) -> Sequence[QuarantinedFile]:
        """Return the files in quarantine."""
        work = partial(list_quarantined, self._files.directory)
        return await self._core.step(partial(self._files.look, work))

    async def free_disk(self) -> int | None:
        """Return the free bytes."""
        return await self._core.step(self._files.free_disk)

    async def misplaced(self) -> str:
        """Return why the path leads elsewhere; empty: it does not."""
        place = await self._core.step(self._files.check_place)
        return place.problem or ""
