"""What every figure is given: where, how much of everything, and how often."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import rmtree
from typing import Final

from msgspec import Struct

from benchmarks.data import Corpora, generate


class Form(Struct, frozen=True, kw_only=True):
    """How much of everything.

    Attributes:
        usual: Sessions of `USUAL_BYTES` that are scanned.
        large: Sessions of each size, where sizes are compared.
        many: Sessions of `SMALL_BYTES` in a large workspace.
        expired: Sessions that are removed.
        flushed: Sessions that are saved at once.
        listed: Sessions in the workspace of the commands.
        counts: Over which the plots run.
        sizes: Likewise, in bytes.
        rounds: Of what takes moments; what takes long has fewer.
    """

    usual: int
    large: int
    many: int
    expired: int
    flushed: int
    listed: int
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    rounds: int

    @property
    def few_rounds(self) -> int:
        """Of what takes long."""
        return max(1, self.rounds // 2)


USUAL_BYTES: Final = 27_000
SMALL_BYTES: Final = 4_000
LARGE_BYTES: Final = 4_000_000

FORMS: Final = {
    "short": Form(
        usual=2_000, large=20, many=5_000, expired=1_000, flushed=100, listed=200,
        counts=(100, 300, 1_000), sizes=(4_000, 40_000, 400_000), rounds=3,
    ),
    "full": Form(
        usual=20_000, large=100, many=100_000, expired=20_000, flushed=1_000, listed=1_000,
        counts=(100, 1_000, 10_000, 100_000),
        sizes=(4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000), rounds=7,
    ),
}  # fmt: skip


class Bench:
    """What every figure is given.

    Args:
        folder: Where everything is made; removed at the end.
        form: How much.
        seed: What the files follow from.

    Attributes:
        corpora: Session files that are only read.
    """

    def __init__(self, folder: Path, form: Form, *, seed: int) -> None:
        self.folder = folder
        self.form = form
        self.seed = seed
        self.corpora = Corpora(folder / "corpora", seed=seed)
        self._scratch = 0
        self._homes: dict[int, Path] = {}

    def home(self, count: int) -> Path:
        """Return a home of miniclaw with so many small sessions; what is put into its state stays for the next one."""
        home = self._homes.get(count)
        if home is None:
            home = self._homes[count] = self.folder / f"home-{count}"
            (home / "workspace").mkdir(mode=0o700, parents=True)
            home.chmod(0o700)
            generate(home / "workspace" / "sessions", count, SMALL_BYTES, seed=self.seed).settle()
        return home

    def new_folder(self) -> Path:
        """Make a folder for something that is consumed; whoever asks removes it with `drop`."""
        self._scratch += 1
        folder = self.folder / f"scratch-{self._scratch}"
        folder.mkdir(mode=0o700)
        return folder

    @staticmethod
    def drop(folder: Path) -> None:
        """Remove what is needed no more."""
        rmtree(folder)


def tell(text: str) -> None:
    """Say how far it is, beside the report."""
    print(text, file=sys.stderr, flush=True)
