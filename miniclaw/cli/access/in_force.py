"""The rules that a command applies: those of the running gateway, which removes by them, else those of the file.

A file that differs or is invalid is reported in one line; the command continues with the rules of the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from miniclaw.cli import Settings
from miniclaw.cli.access.asking import ask_for_config, warn
from miniclaw.config import Config, Home, config_of_tables, differences, show_config
from miniclaw.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS = frozenset({"web.host", "web.port"})
"""Keys that options of `miniclaw gateway` override: the gateway's values may differ from its file."""


class InForce(Struct, frozen=True):
    """A home and the configuration in force; a `miniclaw.workspace.workspace.Place`.

    Attributes:
        home: The home directory, which contains the workspace.
        config: The configuration of the gateway if one runs, else of the file.
        of: The source of `config`.
        notes: Warnings about the file, in sentences.
    """

    home: Home
    config: Config
    of: Literal["gateway", "file"] = "file"
    notes: tuple[str, ...] = ()

    def warn(self, more: Sequence[str] = ()) -> None:
        """Print the notes, and further warnings."""
        for note in (*self.notes, *more):
            warn(note)


def find_rules(settings: Settings) -> InForce:
    """Return the configuration in force, found once for each command.

    Raises:
        ConfigError: The file is invalid, and no gateway returns its configuration.
    """
    if settings.in_force is None:
        settings.in_force = _find_rules(settings)
    return settings.in_force


def _find_rules(settings: Settings) -> InForce:
    theirs = ask_for_config(settings)
    if theirs is None:
        return InForce(settings.home, settings.config)
    try:
        config = config_of_tables(theirs)
    except ConfigError as error:
        warn(f"the gateway that runs has another version of miniclaw, and its rules are not understood: {error}")
        return InForce(settings.home, settings.config)
    try:
        ours = show_config(settings.config)
    except ConfigError as error:
        broken = "; ".join(str(error).splitlines())
        note = f"{broken}. The gateway goes by what it read before, and so does what is shown."
        return InForce(settings.home, config, "gateway", (note,))
    keys = [key for key, _, _ in differences(ours, show_config(config)) if key not in _OPTIONS]
    notes: tuple[str, ...] = ()
    if keys:
        from miniclaw.config.in_force import needs_restart  # noqa: PLC0415 - start-up time: they seldom differ

        differs = f"{settings.config_path} differs from what the gateway goes by: {', '.join(keys)}"
        way = "a restart" if any(map(needs_restart, keys)) else "SIGHUP, or a restart,"
        notes = (f"{differs}. What is shown goes by the gateway's; {way} puts the file in force.",)
    return InForce(settings.home, config, "gateway", notes)
