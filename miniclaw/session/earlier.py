"""The folders in which earlier versions kept state and trash: outside of the sessions directory."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class EarlierFolders(Struct, frozen=True):
    """Folders whose content the next owner of a sessions directory moves in; see `miniclaw.session.records.migration`.

    Attributes:
        state: The folder with the times of the services, the history and the ledger; absolute. None: there was none.
        trash: The folder with the removed sessions; likewise.
        may_be_shared: Other sessions directories may have used the same folders. Then an entry of the trash is moved
            only where the history says that it was removed here.
    """

    state: Path | None = None
    trash: Path | None = None
    may_be_shared: bool = False
