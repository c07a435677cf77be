"""Where one looks, and by which rules."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from miniclaw.config import Config, Home


class Place(Protocol):
    """A home and its configuration: the settings of a command, or the context of a running gateway."""

    @property
    def home(self) -> Home:
        """Where everything lies."""
        ...

    @property
    def config(self) -> Config:
        """The configuration in force."""
        ...


class FixedPlace(Struct, frozen=True):
    """A place whose rules do not change."""

    home: Home
    config: Config
