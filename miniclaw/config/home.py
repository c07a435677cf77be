"""The user's home for miniclaw, and the paths in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from miniclaw.errors import ConfigError
from miniclaw.session.files.subdirectory import EarlierFolders

HOME_VARIABLE: Final = "MINICLAW_HOME"


class Home(Struct, frozen=True):
    """The directory that holds all of a user's miniclaw: `MINICLAW_HOME`, or ``~/.miniclaw``."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The configuration file that is read if the user names no other."""
        return self.path / "config.toml"

    @property
    def workspace(self) -> Path:
        """The directory that the gateway works on."""
        return self.path / "workspace"

    @property
    def sessions_dir(self) -> Path:
        """The sessions directory."""
        return self.workspace / "sessions"

    @property
    def earlier(self) -> EarlierFolders:
        """The folders of earlier versions, whose content is in the sessions directory now."""
        return EarlierFolders(self.workspace / "state", self.workspace / "trash")


def find_home() -> Home:
    """Return the user's home for miniclaw, from the environment.

    Raises:
        ConfigError: The variable is not an absolute path.
    """
    text = os.environ.get(HOME_VARIABLE)
    if text is None:
        try:
            return Home(Path.home() / ".miniclaw")
        except RuntimeError:
            raise ConfigError(None, f"there is no home directory; set {HOME_VARIABLE} to an absolute path") from None
    if not Path(text).is_absolute():
        raise ConfigError(None, f"{HOME_VARIABLE}={text!r}: give an absolute path")
    return Home(Path(text))
