"""The care for files, which other stores do not have: leftovers, quarantine, free disk, and the directory's place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from miniclaw.session.as_store.core import FileCore
from miniclaw.session.entries import Leftover, QuarantinedFile
from miniclaw.session.removal.quarantine_files import list_quarantined
from miniclaw.stores.protocol import FileMaintenance


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
